"""The audit says the same whether links tell their creation themselves or `changes` has it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import func, select

from enrollsync.as_of.records import changes_since, taken_back
from enrollsync.database import Store, migrations, open_store
from enrollsync.database.schema import BASE, USUAL_LINKS, columns_of
from enrollsync.load import planned
from enrollsync.load.apply import apply
from enrollsync.portal.plan_view import Wanted, view_changes
from enrollsync.report.explain import explain
from enrollsync.report.operations import write_csv
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import ENTITIES, Entity
from nightly import Nightly, other, student
from written_histories import DISTRICT, History

Query = Callable[[str, str], list[dict[str, Any]]]
NIGHTS = 8


@pytest.mark.parametrize(
    ("database_url", "seed"),
    [*(("sqlite", seed) for seed in (0, 1, 2, 3, 4, 5, 7)), ("postgresql", 20), ("postgresql", 21)],
    indirect=["database_url"],
)
def test_both_ways_of_keeping_the_audit_answer_alike(
    store: Store, database_url: str, query: Query, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = told_of_nights(store, database_url, query, tmp_path / "by-rows", seed)
    assert any(links_that_tell(night) for night in said)

    monkeypatch.setattr(planned, "_usual_lines", in_no_file)
    other_url = f"sqlite:///{tmp_path / 'kept.db'}"
    other = open_store(other_url)
    other.migrate()
    kept = told_of_nights(other, other_url, query, tmp_path / "kept", seed)
    assert not any(links_that_tell(night) for night in kept)
    for one, same in zip(said, kept, strict=True):
        assert {**one, "told": None} == {**same, "told": None}


def in_no_file(path: Path) -> pa.ChunkedArray:
    return pa.chunked_array([pa.nulls(pq.read_metadata(path).num_rows, pa.string())])


def links_that_tell(night: dict[str, Any]) -> int:
    return int(night["told"])


def told_of_nights(store: Store, url: str, query: Query, folder: Path, seed: int) -> list[dict[str, Any]]:
    """After each night, everything that the audit is asked."""
    folder.mkdir()
    history = History(store, folder, Random(seed))
    said = []
    for night in range(1, NIGHTS + 1):
        history.night()
        (folder / f"audit-{night}").mkdir()
        store.export_changes(DISTRICT, 1, folder / f"audit-{night}")
        exported = pq.read_table(folder / f"audit-{night}" / "changes.parquet").drop_columns(["file"]).to_pylist()
        told = [func.count(BASE[name].c.created_state).label("rows") for name in USUAL_LINKS]
        said.append(
            {
                "told": sum(store.rows(select(column))[0]["rows"] for column in told),
                "view": sorted(map(repr, query(url, "SELECT * FROM roster_changes"))),
                "exported": sorted(map(repr, exported)),
                "lives": [life for entity in ENTITIES if entity.key for life in lives(store, entity)],
                "earlier": [then(store, entity, state) for entity in ENTITIES for state in range(night)],
            }
        )
    return said


def lives(store: Store, entity: Entity) -> list[dict[str, Any]]:
    names = store.rows(select(BASE[entity.name].c.source_key).order_by(BASE[entity.name].c[str(entity.key)]))
    return [explain(store, DISTRICT, entity.singular, row["source_key"]) for row in names]


def then(store: Store, entity: Entity, state: int) -> list[str]:
    base = BASE[entity.name]
    rows = store.rows(select(*(base.c[column] for column in columns_of(entity))))
    return sorted(map(repr, taken_back(entity, rows, store.rows(changes_since(entity, DISTRICT, state)))))


ROSTER = [
    ("organizations", "create", {"organization_key": 1, "organization_id": "S1"}),
    ("users", "create", {"user_key": 1, "user_id": "u1", "role": "student"}),
    ("users", "create", {"user_key": 2, "user_id": "u2", "role": "student"}),
    ("classes", "create", {"class_key": 1, "class_id": "C1", "organization_key": 1}),
]
USUAL = {"after_json": None, "reason": None}
ATTENDS = USUAL | USUAL_LINKS["enrollments"]
BELONGS = USUAL | USUAL_LINKS["memberships"] | {"role": "student"}
LINKS = [
    ("memberships", "create", {"user_key": 1, "organization_key": 1, "file": "students.csv", "line": 9, **BELONGS}),
    ("enrollments", "create", {"class_key": 1, "user_key": 1, "file": "enrollments.csv", "line": 5, **ATTENDS}),
    ("enrollments", "create", {"class_key": 1, "user_key": 2, "file": "enrollments.csv", "line": 6, **ATTENDS}),
]
KEPT = """
    SELECT state_after, sequence, entity, operation, user_key, file, line, after_json
    FROM changes
    WHERE entity IN ('memberships', 'enrollments')
    ORDER BY state_after, sequence"""
VIEW = """
    SELECT entity, operation, user_key, entity_id, after_json, reason
    FROM roster_changes
    WHERE entity IN ('memberships', 'enrollments')
    ORDER BY entity, user_key, operation"""
CREATED = [
    {"entity": "enrollments", "operation": "create", "user_key": 1, "entity_id": "u1 C1"},
    {"entity": "enrollments", "operation": "create", "user_key": 2, "entity_id": "u2 C1"},
    {"entity": "memberships", "operation": "create", "user_key": 1, "entity_id": "u1 S1"},
]
AFTER = {
    "enrollments": '{"role":"student","is_primary":false,"status":"active","source":"batch_upload"}',
    "memberships": '{"role":"student","is_primary":true,"status":"active","source":"batch_upload"}',
}


@pytest.fixture
def rows(database_url: str, query: Query) -> Callable[[str], list[dict[str, Any]]]:
    """`rows(sql)` on this test's database."""
    return lambda sql: query(database_url, sql)


def loaded(store: Store, plans: Any, *links: Any) -> None:
    plan = plans.write(0, [*ROSTER, *links])
    apply(store, plan.folder, plan, plan.run)


def test_a_usual_link_is_told_by_its_own_row_until_it_changes(store: Store, plans: Any, rows: Any) -> None:
    loaded(store, plans, *LINKS)
    assert rows(KEPT) == []
    told = [{**row, "after_json": AFTER[row["entity"]], "reason": "the batch says so"} for row in CREATED]
    assert rows(VIEW) == told
    assert rows("SELECT memberships_file, enrollments_file FROM runs") == [
        {"memberships_file": "students.csv", "enrollments_file": "enrollments.csv"}
    ]
    gone = {"class_key": 1, "user_key": 1, **USUAL_LINKS["enrollments"], "status": "inactive"}
    plan = plans.write(1, [("enrollments", "deactivate", {**gone, "after_json": '{"status":"inactive"}'})])
    apply(store, plan.folder, plan, plan.run)
    creation, deactivation = rows(KEPT)
    assert creation == {
        "state_after": 1, "sequence": 6, "entity": "enrollments", "operation": "create", "user_key": 1, "file": None,
        "line": 5, "after_json": None,
    }  # fmt: skip
    assert (deactivation["operation"], deactivation["state_after"]) == ("deactivate", 2)
    assert [row for row in rows(VIEW) if row["operation"] == "create"] == told
    assert rows("SELECT created_state, created_sequence, created_line FROM enrollments ORDER BY user_key") == [
        {"created_state": None, "created_sequence": None, "created_line": None},
        {"created_state": 1, "created_sequence": 7, "created_line": 6},
    ]
    (student,) = explain(store, DISTRICT, "user", "u1")["records"]
    placed = {(event["entity"], event["operation"]): (event["file"], event["line"]) for event in student["life"]}
    assert placed["enrollments", "create"] == ("enrollments.csv", 5)
    assert placed["memberships", "create"] == ("students.csv", 9)


@pytest.mark.parametrize(
    "unusual",
    [
        {"file": "classes.csv"},
        {"line": None},
        {"file": None},
        {"reason": "so"},
        {"after_json": '{"role":"aide"}'},
    ],
    ids=str,
)
def test_what_its_own_row_cannot_tell_of_a_creation_is_written(
    store: Store, plans: Any, rows: Any, unusual: dict[str, Any]
) -> None:
    *others, (entity, operation, row) = LINKS
    loaded(store, plans, *others, (entity, operation, row | unusual))
    (kept,) = rows("SELECT user_key, file, line, reason, after_json FROM changes WHERE entity = 'enrollments'")
    assert kept == {"user_key": 2, **{name: (row | unusual)[name] for name in ("file", "line", "reason", "after_json")}}
    assert [row["entity_id"] for row in rows(VIEW)] == ["u1 C1", "u2 C1", "u1 S1"]


def test_the_schema_of_before_has_every_creation_in_its_audit(
    store: Store, plans: Any, rows: Any, tmp_path: Path
) -> None:
    loaded(store, plans, *LINKS)
    history = History(store, tmp_path, Random(3))
    for _ in range(5):
        history.night()
    everything = "SELECT * FROM roster_changes"
    told = sorted(map(repr, rows(everything)))
    assert rows("SELECT * FROM enrollments WHERE created_state IS NOT NULL")
    with store.backend.connect(create=True).begin() as connection:
        migrations.downgrade(connection, "0014")
    assert sorted(map(repr, rows(everything))) == told
    kept = rows(KEPT.replace("ORDER BY", "AND state_after = 1 ORDER BY"))
    assert [(row["user_key"], row["file"], row["line"], row["after_json"]) for row in kept] == [
        (1, "students.csv", 9, AFTER["memberships"]),
        (1, "enrollments.csv", 5, None),
        (2, "enrollments.csv", 6, None),
    ]
    store.migrate()
    assert sorted(map(repr, rows(everything))) == told
    assert all(lives(store, entity) for entity in ENTITIES if entity.key)


def test_of_people_forgotten_before_the_step_nothing_usual_is_told_either(store: Store, plans: Any, rows: Any) -> None:
    loaded(store, plans, *LINKS)
    forgotten = (
        "UPDATE changes SET entity_id = 'forgotten 1', class_key = NULL WHERE entity = 'enrollments' AND line = 5"
    )
    with store.backend.connect(create=True).begin() as connection:
        migrations.downgrade(connection, "0014")
        connection.exec_driver_sql(forgotten)
    store.migrate()
    told = rows("SELECT entity_id, after_json FROM roster_changes WHERE entity = 'enrollments' ORDER BY user_key")
    assert told == [
        {"entity_id": "forgotten 1", "after_json": "{}"},
        {"entity_id": "u2 C1", "after_json": AFTER["enrollments"]},
    ]


def test_a_plan_says_what_a_new_membership_is_though_its_audit_need_not(nightly: Nightly, tmp_path: Path) -> None:
    nightly.run([student(), other(2, userRole="teacher")])
    place = Workspace(Path(nightly.workspace))
    _, changes = view_changes(place, Wanted())
    roles = [dict((name, new) for name, _, new in one.values) for one in changes if one.entity == "memberships"]
    assert roles == [{"role": role, "is_primary": True, "status": "active"} for role in ("student", "teacher")]
    write_csv(place, tmp_path / "plan.csv")
    with (tmp_path / "plan.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["entity"] in AFTER]
    assert {row["after"] for row in rows if row["entity"] == "memberships"} == {
        AFTER["memberships"], AFTER["memberships"].replace("student", "teacher"),
    }  # fmt: skip
    assert {row["after"] for row in rows if row["entity"] == "enrollments"} >= {AFTER["enrollments"]}
