"""What a class with an opaque identifier could be called instead (rule 8)."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canonical_rows import (
    Row,
    enrollment,
    manifest_for,
    person,
    run_for,
    school_class,
    write_canonical,
)
from enrollsync.run.engine import connect
from enrollsync.run.workspace import Workspace
from enrollsync.validate import asked, collect, memorable

OPAQUE = "1000001"
SAID = "Nobody remembers it."


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "run").create()


def suggested(workspace: Workspace, tables: dict[str, list[Row]], source: str = "clever") -> dict[str, str]:
    """Class identifier -> what is suggested for it, of those that are opaque and for which there is something."""
    write_canonical(workspace, tables)
    words = asked.parameters(run_for(manifest_for(source)))
    with connect(workspace.root) as connection:
        collect.create_table(connection)
        connection.execute(
            f"""
            INSERT INTO found
            SELECT 'ID-OPAQUE', 'info', 'classes', row_id, file, line, 'Section_id', 'class_id', '{SAID}'
            FROM read_parquet('{workspace.canonical_table("classes")}')
            WHERE regexp_matches(class_id, ?)
            """,
            [asked.OPAQUE.replace(r"\Z", r"\z")],
        )
        memorable.add_suggestions(connection, workspace, words)
        found = connection.execute(
            f"""
            SELECT class_id, message
            FROM found
            JOIN read_parquet('{workspace.canonical_table("classes")}') USING (row_id)
            """
        ).fetchall()
    said = {(identifier, message.removeprefix(SAID)) for identifier, message in found}
    pattern = re.compile(r" This class could be ([A-Z0-9-]+)\.")
    return {name: match[1] for name, message in said if (match := pattern.fullmatch(message))}


def opaque_class(identifier: str = OPAQUE, **values: Any) -> Row:
    return school_class(source_key=identifier, class_id=identifier, **values)


def teacher(family_name: str | None = "Smith", user_id: str = "T1", **values: Any) -> Row:
    return person(user_id=user_id, role="teacher", family_name=family_name, **values)


def taught(class_id: str = OPAQUE, user_id: str = "T1", **values: Any) -> Row:
    return enrollment(class_source_key=class_id, user_source_key=user_id, role="teacher", **values)


ALGEBRA = {"course_code": "ALG1", "course_name": "Algebra", "name": "Math", "period": "3"}


@pytest.mark.parametrize(
    ("values", "name", "plain", "extended"),
    [
        pytest.param(ALGEBRA, "Smith", "ALG1P3SMITH", "ALG1-P3-SMITH", id="course code, period, teacher"),
        pytest.param(ALGEBRA | {"course_code": None}, "Smith", "ALGEBRAP3SMITH", "ALGEBRA-P3-SMITH", id="course name"),
        pytest.param({"name": "Math 5"}, "Smith", "MATH5SMITH", "MATH5-SMITH", id="class name"),
        pytest.param(
            ALGEBRA | {"course_code": "1200310"}, "Smith", "ALGEBRAP3SMITH", "ALGEBRA-P3-SMITH", id="opaque course code"
        ),
        pytest.param(ALGEBRA, None, "ALG1P3", "ALG1-P3", id="no teacher's name"),
        pytest.param({"period": "3"}, "Smith", "P3SMITH", "P3-SMITH", id="no course"),
        pytest.param({}, "Smith", "SMITH", "SMITH", id="only the teacher"),
        pytest.param({"name": "Math"}, "Núñez-Ångström", "MATHNUNEZANGST", "MATH-NUNEZANGST", id="accents"),
        pytest.param({"name": "Матем"}, "Smith", "SMITH", "SMITH", id="another alphabet"),
        pytest.param({"name": "Math"}, "Smith 3rd", "MATHSMITHRD", "MATH-SMITHRD", id="digits in a name"),
        pytest.param(
            {"name": "Introduction to Computer Science", "period": "12"}, "Featherstonehaugh",
            "INTRODUCTP12FEATHERSTO"[:22], "INTRODU-P12-FEATHERSTO"[:22], id="long words",
        ),
        pytest.param({"period": "3"}, None, None, None, id="only a period"),
        pytest.param({}, None, None, None, id="nothing"),
        pytest.param({"name": "12345"}, None, None, None, id="digits alone"),
        pytest.param({"name": "ABCDEF 0123456789"}, None, None, None, id="opaque again"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("source", ["batch_upload", "clever"])
def test_the_suggestion_is_made_of_what_the_delivery_says(
    workspace: Workspace, source: str, values: Row, name: str | None, plain: str | None, extended: str | None
) -> None:
    tables = {"classes": [opaque_class(**values)], "users": [teacher(name)], "enrollments": [taught()]}
    expected = plain if source == "batch_upload" else extended
    assert suggested(workspace, tables, source) == ({OPAQUE: expected} if expected else {})


@pytest.mark.parametrize(
    ("period", "part"),
    [("3", "P3"), ("P3", "P3"), ("Period 3", "P3"), ("Per. 3", "P3"), ("pd3", "P3"), ("A", "PA"), ("1(A)", "P1A"),
     ("Period B", "PB"), ("03", "P03"), ("  ", ""), ("Homeroom", "PHOME")],
)  # fmt: skip
def test_a_period_is_written_in_one_way(workspace: Workspace, period: str, part: str) -> None:
    rows = [opaque_class(name="Math", period=period)]
    assert suggested(workspace, {"classes": rows}, "batch_upload") == {OPAQUE: f"MATH{part}"}


def test_the_primary_teacher_gives_the_name(workspace: Workspace) -> None:
    tables = {
        "classes": [opaque_class(name="Math")],
        "users": [teacher("Abel", "T0"), teacher("Smith", "T1")],
        "enrollments": [taught(user_id="T0", is_primary="false"), taught(is_primary="true")],
    }
    assert suggested(workspace, tables) == {OPAQUE: "MATH-SMITH"}


@pytest.mark.parametrize(
    "users",
    [
        pytest.param([person(user_id="T1", family_name="Smith")], id="a student"),
        pytest.param([teacher(), person(user_id="T1", family_name="Smith")], id="perhaps a student"),
        pytest.param([teacher(), teacher(kind=None)], id="perhaps nobody's"),
        pytest.param([teacher(), teacher("Jones")], id="two people"),
        pytest.param([], id="not in the delivery"),
    ],
)
def test_a_name_that_may_be_somebody_elses_is_left_out(workspace: Workspace, users: list[Row]) -> None:
    tables = {"classes": [opaque_class(name="Math")], "users": users, "enrollments": [taught()]}
    assert suggested(workspace, tables) == {OPAQUE: "MATH"}


def test_a_students_name_is_never_taken(workspace: Workspace) -> None:
    tables = {
        "classes": [opaque_class(name="Math")],
        "users": [person(user_id="U1", family_name="Parath")],
        "enrollments": [enrollment(class_source_key=OPAQUE, user_source_key="U1")],
    }
    assert suggested(workspace, tables) == {OPAQUE: "MATH"}


def test_where_rows_of_a_class_disagree_most_lines_win(workspace: Workspace) -> None:
    rows = [opaque_class(name="Aglebra", line=2), opaque_class(name="Algebra", lines=[3, 4]), opaque_class(line=5)]
    assert suggested(workspace, {"classes": rows}) == {OPAQUE: "ALGEBRA"}


@pytest.mark.parametrize(
    ("source", "names", "taken", "expected"),
    [
        pytest.param("batch_upload", ["Math", "Math", "Math"], [], ["MATH", "MATH2", "MATH3"], id="equal"),
        pytest.param("clever", ["Math", "Math"], [], ["MATH", "MATH-2"], id="equal, extended"),
        pytest.param("clever", ["Math"], ["MATH"], ["MATH-2"], id="taken"),
        pytest.param("clever", ["Math"], ["Math"], ["MATH-2"], id="taken in other case"),
        pytest.param("batch_upload", ["Math", "Math"], ["MATH2"], ["MATH", "MATH3"], id="number taken"),
        pytest.param("batch_upload", ["Math", "Math", "Math 2"], [], ["MATH", "MATH3", "MATH2"], id="number in a name"),
        pytest.param("batch_upload", ["Math 2", "Math 2"], [], ["MATH2", "MATH2N2"], id="ends in a digit"),
        pytest.param(
            "batch_upload", ["Math 2", "Math 2", "Math 2n", "Math 2n"], [], ["MATH2", "MATH2N2", "MATH2N", "MATH2N3"],
            id="two names with one stem",
        ),
    ],
)  # fmt: skip
def test_no_two_classes_get_one_suggestion(
    workspace: Workspace, source: str, names: list[str], taken: list[str], expected: list[str]
) -> None:
    rows = [opaque_class(str(1_000_001 + place), name=name) for place, name in enumerate(names)]
    others = [school_class(source_key=name, class_id=name) for name in taken]
    found = suggested(workspace, {"classes": rows + others}, source)
    assert found == {str(1_000_001 + place): name for place, name in enumerate(expected)}


WORDS = st.sampled_from([None, "Math", "Math 2", "Math 22", "Math 2n", "MATH", "é", "Per 2", "1234567"])
CLASS = st.fixed_dictionaries({"name": WORDS, "course_code": WORDS, "period": st.sampled_from([None, "2", "N2"])})


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(CLASS, min_size=2, max_size=12),
    st.lists(st.sampled_from(["MATH", "math2", "MATH2N2", "MATH-2", "MATH3"]), unique=True),
    st.sampled_from(["batch_upload", "clever"]),
    st.randoms(use_true_random=False),
)
def test_in_any_order_of_rows_the_suggestions_are_the_same_and_all_differ(
    workspace: Workspace, classes: list[Row], taken: list[str], source: str, order: random.Random
) -> None:
    rows = [opaque_class(str(2_000_000 + place // 2), **one) for place, one in enumerate(classes)]
    rows += [school_class(source_key=name, class_id=name) for name in taken]
    tables = {
        "classes": rows,
        "users": [teacher(), teacher("Abel", "T0")],
        "enrollments": [taught("2000000"), taught("2000001"), taught("2000001", "T0"), taught("2000002")],
    }
    found = suggested(workspace, tables, source)
    for table in tables.values():
        order.shuffle(table)
    assert suggested(workspace, tables, source) == found
    assert len(set(found.values())) == len(found)
    assert not {name.upper() for name in taken} & set(found.values())
    charset = re.compile("[A-Z0-9]+" if source == "batch_upload" else "[A-Z0-9-]+")
    assert all(charset.fullmatch(name) and not re.match(asked.OPAQUE, name) for name in found.values())


def test_without_an_opaque_identifier_no_table_is_read(workspace: Workspace) -> None:
    words = asked.parameters(run_for(manifest_for("clever")))
    with connect(workspace.root) as connection:
        collect.create_table(connection)
        memorable.add_suggestions(connection, workspace, words)  # there are no tables to read
