"""What a plan says of its operations: before and after, from the rows that planners leave and those of the roster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from enrollsync.database.schema import arrow_schema, columns_of, typed_column
from enrollsync.plan.plan import write_operations
from enrollsync.plan.shares import measure
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import ENTITIES

Row = dict[str, Any]
ANN: Row = {
    "user_key": 1, "source_key": "u1", "user_id": "u1", "role": "student", "given_name": "Ann", "family_name": 'L"ee',
    "grade": "5", "status": "active", "source": "clever",
}  # fmt: skip
SEAT: Row = {
    "class_key": 3, "user_key": 1, "role": "student", "is_primary": False, "status": "active", "source": "clever",
}  # fmt: skip


@pytest.fixture
def connection() -> Any:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET VARIABLE source = 'clever'")
        yield connection


def leave(connection: duckdb.DuckDBPyConnection, entity: str, operation: str, stored: Row, after: Row) -> None:
    """What a planner has found and leaves: one operation, on one stored row or none."""
    told = {"operation": operation, "explicit": False, "reason": None, "file": "students.csv", "line": 2}
    kinds = {"explicit": pa.bool_(), "line": pa.int64()}
    for each in ENTITIES:
        columns = arrow_schema([typed_column(name) for name in columns_of(each)])
        more = pa.schema([(name, kinds.get(name, pa.string())) for name in told])
        rows = (stored, {**told, **after}) if each.name == entity else ({}, {})
        for name, row, schema in (("stored", rows[0], columns), ("after", rows[1], pa.schema([*more, *columns]))):
            table = pa.Table.from_pylist([row] if row else [], schema)
            relation = f"stored_{each.name}" if name == "stored" else f"{each.name}_after"
            connection.register(f"given_{relation}", table)
            connection.execute(f"CREATE TABLE {relation} AS FROM given_{relation}")


def planned(
    connection: duckdb.DuckDBPyConnection, folder: Path, entity: str, operation: str, stored: Row, after: Row
) -> tuple[Any, ...]:
    """Who it is, before and after, as the plan's table says it."""
    leave(connection, entity, operation, stored, after)
    workspace = Workspace(folder).create()
    write_operations(connection, workspace, source="clever")
    told = f"SELECT entity_id, before_json, after_json FROM '{workspace.plan_table(entity)}'"
    return connection.sql(told).fetchall()[0]


def test_an_update_says_what_changes_and_nothing_else(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    after = ANN | {"grade": "6", "family_name": None, "email": "ann@demo.example"}
    assert planned(connection, tmp_path, "users", "update", ANN, after) == (
        "u1",
        r'{"family_name":"L\"ee","email":null,"grade":"5"}',
        '{"family_name":null,"email":"ann@demo.example","grade":"6"}',
    )


def test_a_creation_says_every_value_that_it_has(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert planned(connection, tmp_path, "users", "create", {}, ANN | {"family_name": "Lee"}) == (
        "u1",
        None,
        '{"source_key":"u1","user_id":"u1","role":"student","given_name":"Ann","family_name":"Lee","grade":"5",'
        '"status":"active","source":"clever"}',
    )


@pytest.mark.parametrize(("values", "said"), [
    ({}, None),
    ({"is_primary": True}, '{"role":"student","is_primary":true,"status":"active","source":"clever"}'),
    ({"source": "other"}, '{"role":"student","is_primary":false,"status":"active","source":"other"}'),
])  # fmt: skip
def test_a_new_enrollment_says_its_values_unless_they_are_the_usual_ones(
    values: Row, said: str | None, connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert planned(connection, tmp_path, "enrollments", "create", {}, SEAT | values) == (None, None, said)


def test_a_deactivation_says_the_status_alone(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    expected = ("u1", '{"status":"active"}', '{"status":"inactive"}')
    assert planned(connection, tmp_path, "users", "deactivate", ANN, ANN | {"status": "inactive"}) == expected


def test_who_loses_an_identifier_goes_by_the_old_one_and_says_the_status_though_it_stays(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    inactive = ANN | {"status": "inactive"}
    after = inactive | {"user_id": None, "source_key": "released:1:u1"}
    assert planned(connection, tmp_path, "users", "deactivate", inactive, after) == (
        "u1",
        '{"source_key":"u1","user_id":"u1","status":"inactive"}',
        '{"source_key":"released:1:u1","user_id":null,"status":"inactive"}',
    )


def test_a_value_that_reads_like_another_field_counts_as_none(connection: duckdb.DuckDBPyConnection) -> None:
    after = ANN | {"family_name": '"grade":', "email": "ann@demo.example"}
    leave(connection, "users", "update", ANN, after)
    for entity in ENTITIES:
        connection.execute(f"CREATE VIEW db_{entity.name} AS FROM stored_{entity.name}")
        connection.execute(f"CREATE VIEW {entity.name}_before AS FROM stored_{entity.name}")
    connection.execute("CREATE VIEW operations AS SELECT 'users' AS entity, operation FROM users_after")
    (users,) = [share for share in measure(connection) if share.entity == "users" and share.organization_key is None]
    assert (users.fields, users.filled) == ({"family_name": 1, "email": 1}, {"email": 1})
