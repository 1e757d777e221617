"""Reconciling from within: its tables, its statements as a reader sees them, and single modules on a few rows."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from canonical_rows import manifest_for
from enrollsync.formats.batch_upload import BATCH_UPLOAD
from enrollsync.plan.reconcile.changes import plan_changes
from enrollsync.plan.reconcile.clashes import find_clashes
from enrollsync.plan.reconcile.likeness import KINDS_OF_PEOPLE
from enrollsync.plan.reconcile.tables import RELATIONS, empty
from enrollsync.plan.reconcile.taken import hold_taken
from enrollsync.run import engine
from enrollsync.words.canonical import BY_NAME, ENTITIES, USERS, Entity
from nightly import student
from reconciling import Roster

Row = dict[str, Any]
GOLDEN = Path(__file__).parent.parent / "golden"
LONGEST = 5_900
"""Characters of a statement; twice as many nobody could read."""
EDIT = {
    "entity": "users", "entity_key": 1, "state_after": 1, "before_json": '{"user_id":"0","user_state_id":null}',
    "after_json": '{"user_id":"0000","user_state_id":"90"}',
}  # fmt: skip
WIDEST = 150
"""Characters of a line of one."""


class Recorded:
    """A connection that remembers its statements, and what was there when it was closed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.statements: list[str] = []
        self.relations: dict[str, str] = {}

    def execute(self, query: str, *parameters: Any) -> duckdb.DuckDBPyConnection:
        self.statements.append(query)
        return self.connection.execute(query, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def look(self) -> None:
        """Note the tables and views that are there now."""
        query = """
            SELECT table_name, string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index)
            FROM duckdb_columns()
            WHERE NOT internal AND database_name IN (current_database(), 'temp')
            GROUP BY table_name"""
        self.relations = dict(self.connection.execute(query).fetchall())


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    """What was made in a night that needs everything: of a snapshot with damage, and of a second source's delta."""
    nights = {
        source: a_night(Roster(tmp_path_factory.mktemp(source), source=source, mode=mode))
        for source, mode in (("batch_upload", "snapshot"), ("clever", "delta"))
    }
    return nights | {"switch": a_switch(Roster(tmp_path_factory.mktemp("switch")))}


def a_switch(roster: Roster) -> Recorded:
    """What planning made of another primary source's first delivery."""
    roster.night([student()])
    roster.source = "clever"
    with recording() as recorded:
        roster.plan([student()])
    return next(night for night in recorded if "primary_memberships" in night.relations)


@contextmanager
def recording() -> Iterator[list[Recorded]]:
    """Remember what every connection is asked meanwhile."""
    recorded: list[Recorded] = []
    connection_to = engine.connect

    @contextmanager
    def connect(workspace: Path) -> Iterator[Recorded]:
        with connection_to(workspace) as own:
            recorded.append(Recorded(own))
            yield recorded[-1]
            recorded[-1].look()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(engine, "connect", connect)
        yield recorded


def a_night(roster: Roster) -> Recorded:
    """What planning made of a rejected row, lost zeros, a clash, new identifiers by a row and a line, an edit."""
    rows = [student(f"{number:04}", userFirstName=f"Ann{number}", userStateId=f"9{number}") for number in range(6)]
    new = [("0009", "Ann3", "93"), ("5", "Bo", ""), ("0010", "Cy", "94")]
    roster.night(rows)
    roster.edits = [EDIT]
    with recording() as recorded:
        roster.plan(
            [*rows[:3], *(student(name, userFirstName=given, userStateId=state) for name, given, state in new)],
            rejected=["0001"],
            id_changes="entity,old_id,new_id\nuser,0002,9002\n",
        )
    return next(night for night in recorded if "primary_memberships" in night.relations)


# ---- the tables ------------------------------------------------------------------------------------------------------


def declared() -> dict[str, str]:
    return {
        relation.full_name(entity): " ".join(relation.full_columns(entity).split())
        for relation in RELATIONS
        for entity in relation.entities
    }


@pytest.mark.parametrize("source", ["batch_upload", "clever", "switch"])
def test_what_is_created_has_the_declared_columns_and_nothing_undeclared_is(
    source: str, nights: dict[str, Recorded]
) -> None:
    brought = {"names", "operations"}
    made = {name: columns for name, columns in nights[source].relations.items() if name not in brought}
    assert made == {name: columns for name, columns in declared().items() if name in made}


def test_every_declared_relation_is_created_in_some_night(nights: dict[str, Recorded]) -> None:
    made = {name for night in nights.values() for name in night.relations}
    names = {each.name for each in RELATIONS if not made.intersection(map(each.full_name, each.entities))}
    assert names == set()


def test_no_name_needs_quotation_marks_or_a_long_explanation() -> None:
    with duckdb.connect(":memory:") as connection:
        for relation in RELATIONS:
            for entity in relation.entities:
                connection.execute(f"DROP TABLE IF EXISTS {relation.full_name(entity)}")
                connection.execute(empty(relation.name, entity))
    assert [
        relation.name for relation in RELATIONS if not relation.says.endswith(".") or len(relation.says) > 115
    ] == []


# ---- the statements --------------------------------------------------------------------------------------------------


def test_no_statement_is_longer_than_a_person_reads(nights: dict[str, Recorded]) -> None:
    lengths = {statement: len(statement) for night in nights.values() for statement in night.statements}
    assert {" ".join(said.split())[:60]: length for said, length in lengths.items() if length > LONGEST} == {}


@pytest.mark.parametrize("entity", ["users", "enrollments"])
def test_the_statements_of_an_entity_are_those_that_a_reader_finds_beside_the_tests(
    entity: str, nights: dict[str, Recorded]
) -> None:
    said = as_a_reader_sees_them(nights["batch_upload"].statements, entity)
    path = GOLDEN / f"{entity}.sql"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(said)
    assert said == path.read_text(), "GOLDEN=write writes it anew; look at the difference before you keep it"
    assert [line for line in said.splitlines() if len(line) > WIDEST] == []


def as_a_reader_sees_them(statements: list[str], entity: str) -> str:
    """The statements that make or fill the entity's tables, without the paths of this machine."""
    own = re.compile(rf"\s*(CREATE (OR REPLACE )?(TABLE|VIEW)|INSERT INTO|UPDATE) \w*{entity}\w*\b")
    said = [textwrap.dedent(statement.strip("\n")).strip() for statement in statements if own.match(statement)]
    text = "\n\n".join(f"{statement};" for statement in said)
    text = re.sub(r"'[^']*/run-\d+/", "'", text)
    return re.sub(r"[ ]+$", "", text, flags=re.MULTILINE) + "\n"


# ---- modules, each on a few rows -------------------------------------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(KINDS_OF_PEOPLE)
        connection.execute("SET VARIABLE source = 'clever'")
        connection.execute("SET VARIABLE primary_source = 'clever'")
        yield connection


def given(connection: duckdb.DuckDBPyConnection, name: str, entity: Entity | None, *rows: Row) -> None:
    """A module's input table with these rows; columns that they leave out are empty, and nothing is alike."""
    connection.execute(empty(name, entity))
    full_name = name.format(entity=entity and entity.name)
    for row in rows:
        if "alike" in connection.table(full_name).columns:
            row = {"alike": False} | row
        values = ", ".join(["?"] * len(row))
        connection.execute(f"INSERT INTO {full_name} ({', '.join(row)}) VALUES ({values})", list(row.values()))


ANN = {"user_key": 1, "source_key": "a", "user_id": "a", "grade": "5", "status": "active", "source": "clever"}
SAYS = {"source_key": "a", "user_id": "a", "file": "students.csv", "line": 2}
SEAT = {"class_key": 3, "user_key": 1, "is_primary": False, "status": "active", "source": "clever"}
SITS = {"class_key": 3, "user_key": 1, "is_primary": "false", "file": "enrollments.csv", "line": 2}


def changed(connection: duckdb.DuckDBPyConnection, entity: Entity, old: Row, said: Row) -> list[tuple[Any, ...]]:
    """Operation and grade, or operation and mark, of what a row changes of a record."""
    manifest = manifest_for("clever", supplied={entity.name: {name: ["students.csv"] for name in entity.columns}})
    for each in ENTITIES:
        mine = each is entity
        given(connection, "stored_{entity}", each, *([old] if mine else []))
        connection.execute(f"CREATE VIEW db_{each.name} AS FROM stored_{each.name} WHERE status <> 'removed'")
        given(connection, "{entity}_differing" if each.key else "{entity}_resolved", each, *([said] if mine else []))
        given(connection, "{entity}_departures", each)
        if each.key:
            given(connection, "{entity}_accepted", each)
            given(connection, "{entity}_lookup", each)
            given(connection, "{entity}_assigned", each, *([{"source_key": "a", "old_key": 1, each.key: 1}] * mine))
    plan_changes(connection, manifest, BATCH_UPLOAD)
    value = "grade" if entity.key else "is_primary"
    return connection.sql(f"SELECT operation, {value} FROM {entity.name}_changes").fetchall()


@pytest.mark.parametrize(("old", "said", "expected"), [
    pytest.param({}, {"grade": "5"}, [], id="the same"),
    pytest.param({}, {"grade": "6"}, [("update", "6")], id="another value"),
    pytest.param({}, {"grade": None}, [("update", None)], id="an empty value"),
    pytest.param({}, {"grade": None, "kept": ["grade"]}, [], id="a value that was taken away"),
    pytest.param({"status": "inactive"}, {"grade": "5"}, [("reactivate", "5")], id="who was inactive"),
    pytest.param({}, {"grade": "5", "user_id": "b"}, [("reidentify", "5")], id="another identifier"),
    pytest.param({"source": "staff"}, {"grade": "6"}, [("update", "6")], id="taken over by the primary source"),
])  # fmt: skip
def test_a_row_changes_what_it_says_and_keeps_what_was_taken_from_it(
    old: Row, said: Row, expected: list[tuple[Any, ...]], connection: duckdb.DuckDBPyConnection
) -> None:
    assert changed(connection, USERS, ANN | old, SAYS | said) == expected


def test_what_the_primary_source_brought_another_one_leaves_alone(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("SET VARIABLE primary_source = 'batch_upload'")
    assert changed(connection, USERS, ANN | {"source": "batch_upload"}, SAYS | {"grade": "6"}) == []


def test_a_pair_that_comes_again_takes_a_removed_links_row_back(connection: duckdb.DuckDBPyConnection) -> None:
    removed = SEAT | {"status": "removed", "is_primary": True}
    assert changed(connection, BY_NAME["enrollments"], removed, SITS) == [("reactivate", False)]


def test_an_email_or_secondary_id_of_somebody_outside_of_a_delta_clashes(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    bo = ANN | {"user_key": 2, "source_key": "b", "user_id": "b", "role": "student", "user_state_id": "9", "email": "X"}
    given(connection, "db_{entity}", USERS, ANN, bo)
    given(connection, "{entity}_resolved", USERS, SAYS | {"role": "student", "user_state_id": "9", "email": "x"})
    connection.execute("ALTER TABLE users_resolved RENAME TO said; CREATE VIEW users_resolved AS FROM said")
    given(connection, "{entity}_assigned", USERS, {"source_key": "a", "old_key": 1, "user_key": 1})
    given(connection, "{entity}_behind", USERS)
    given(connection, "{entity}_released", USERS)
    find_clashes(connection, manifest_for("clever", mode="delta"))
    found = connection.sql("SELECT field, code FROM users_clashes ORDER BY code").fetchall()
    assert found == [("user_state_id", "SEC-DUPLICATE"), ("email", "VAL-EMAIL-DUPLICATE")]
    assert connection.sql("SELECT user_state_id, email FROM users_resolved").fetchall() == [(None, "x")]


@pytest.mark.parametrize(("leaves_to", "held"), [("c", []), ("a", []), (None, [("a", "PLAN-REIDENTIFY-TAKEN")])])
def test_a_row_gets_an_identifier_only_when_the_record_that_has_it_gets_another(
    leaves_to: str | None, held: list[tuple[str, str]], connection: duckdb.DuckDBPyConnection
) -> None:
    """Ann's row says `b`, which is Bo's; his own says that he goes to `leaves_to`."""
    rows = [{"source_key": "a", "user_id": "b", "old_key": 1}]
    rows += [{"source_key": "b", "user_id": leaves_to, "old_key": 2}] if leaves_to else []
    given(connection, "db_{entity}", USERS, ANN, ANN | {"user_key": 2, "source_key": "b", "user_id": "b"})
    given(connection, "{entity}_candidates", USERS, *rows)
    for name in ("{entity}_held", "{entity}_matched", "{entity}_released"):
        given(connection, name, USERS)
    hold_taken(connection, USERS, manifest_for("clever"))
    assert connection.sql("SELECT source_key, code FROM users_held").fetchall() == held
