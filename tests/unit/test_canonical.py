"""What is known of the canonical columns besides their names."""

from __future__ import annotations

import pytest

from enrollsync.words.canonical import BY_NAME, ENTITIES, USERS, Entity


@pytest.mark.parametrize("entity", BY_NAME.values(), ids=BY_NAME)
def test_each_column_of_a_record_has_a_label_of_its_own_for_a_person(entity: Entity) -> None:
    labels = [column.label for column in entity.described]
    assert len(set(labels)) == len(labels) == len(entity.columns)
    assert not [label for label in labels if "_" in label or label != label.strip() or label[:1].isupper()]


def test_identifiers_and_secondary_ids_are_what_a_person_may_correct() -> None:
    assert {entity.name: entity.editable for entity in ENTITIES if entity.editable} == {
        "organizations": ("organization_id",),
        "users": ("user_id", "user_district_id", "user_state_id"),
        "classes": ("class_id",),
    }


def test_all_that_a_person_can_be_told_by_is_private() -> None:
    assert [column.name for column in USERS.described if not column.private] == ["role", "grade", "status"]
    assert {column.name for entity in ENTITIES for column in entity.described if column.refers_to == "users"} == {
        column.name for entity in ENTITIES if entity is not USERS for column in entity.described if column.private
    }


def test_a_column_is_a_reference_where_it_names_an_entity_and_nowhere_else() -> None:
    for entity in ENTITIES:
        assert tuple(entity.links) == entity.of_kind("reference")
        assert {*entity.links.values()} <= {*BY_NAME}
