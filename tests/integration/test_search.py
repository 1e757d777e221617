"""People, classes and organizations are found by whatever somebody knows of them, by an index on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Select, select, text

from enrollsync.database import Store, migrations
from enrollsync.database.around import Around
from enrollsync.database.schema import BASE, CODES, FINDINGS, NAMES, arrow_schema, said_columns
from enrollsync.load.apply import apply
from enrollsync.records import profile as profiling
from enrollsync.records import search as searching
from enrollsync.records.search import Wanted, search
from enrollsync.records.waiting import Waiting, with_candidates
from enrollsync.words.canonical import BY_NAME

DISTRICT = "demo"
NORTH, SOUTH = 1, 2


def person(key: int, given: str, family: str, **values: Any) -> tuple[str, str, dict[str, Any]]:
    told = {"user_key": key, "user_id": f"u{key}", "role": "student", "given_name": given, "family_name": family}
    return "users", "create", told | values


PEOPLE = [
    person(1, "María Elena", "García Márquez", email="Maria@Demo.example", user_state_id="ST-1"),
    person(2, "Jürgen", "Müller", role="teacher", source_key="staff:77", source="clever", user_id=None),
    person(3, "J", "O'Brien", middle_name="Ann", user_district_id="0042"),
    person(4, "Leena", "Garcia", status="inactive"),
]
ROSTER = [
    ("organizations", "create", {"organization_key": NORTH, "organization_id": "S1", "name": "North High"}),
    ("organizations", "create", {"organization_key": SOUTH, "organization_id": "S2", "name": "Süd"}),
    *PEOPLE,
    *(
        ("memberships", "create", {"user_key": user, "organization_key": school, "role": "student", "is_primary": True})
        for user, school in ((1, NORTH), (2, NORTH), (3, SOUTH))
    ),
    ("memberships", "create", {"user_key": 4, "organization_key": NORTH, "role": "student", "status": "inactive"}),
    ("memberships", "create", {"user_key": 3, "organization_key": NORTH, "role": "teacher", "status": "inactive"}),
    ("classes", "create", {"class_key": 1, "class_id": "C1", "organization_key": NORTH, "name": "Art 1 - Müller",
                           "course_code": "ART1"}),
    ("classes", "create", {"class_key": 2, "class_id": "C2", "organization_key": SOUTH, "name": "Algebra"}),
]  # fmt: skip
STARTED = datetime(2026, 9, 1, 2, tzinfo=UTC)


@pytest.fixture
def roster(store: Store, plans: Any) -> Store:
    """Four people in two schools; person 1 was `u0` before."""
    first = plans.write(0, [(name, done, {**row, "user_id": "u0"} if row.get("user_key") == 1 and name == "users"
                             else row) for name, done, row in ROSTER])  # fmt: skip
    apply(store, first.folder, first, first.run)
    renamed = PEOPLE[0][2] | {"before_json": '{"user_id":"u0"}', "after_json": '{"user_id":"u1"}'}
    second = plans.write(1, [("users", "reidentify", renamed)])
    apply(store, second.folder, second, second.run)
    return store


def found(store: Store, kind: str = "users", **wanted: Any) -> list[int]:
    entity = BY_NAME[kind]
    with store.asking() as read:
        return sorted(row[str(entity.key)] for row in search(read, DISTRICT, entity, Wanted(**wanted)).records)


@pytest.mark.parametrize(("asked", "keys"), [
    ("garcia", [1, 4]), ("GARCÍA", [1, 4]), ("marq", [1]), ("elena garc", [1]), ("garcia leena", [4]),
    ("muller", [2]), ("müller jur", [2]), ("obrien", [3]), ("o’brien", [3]), ("ann", [3]),
    # A single letter is an initial.
    ("j", [3]), ("j obrien", [3]),
    ("u1", [1]), ("u0", [1]), ("U1", []), ("77", [2]), ("staff:77", [2]), ("student:77", []),
    ("ST-1", [1]), ("0042", [3]), ("maria@demo.EXAMPLE", [1]), (" u3 ", [3]),
    ("arcia", []), ("nobody", []), ("%", []), ("g_rcia", []), ("'; DROP TABLE users; --", []), ("x" * 5000, []),
    ("", [1, 2, 3, 4]), ("   ", [1, 2, 3, 4]),
])  # fmt: skip
def test_a_person_is_found_by_what_somebody_knows(roster: Store, asked: str, keys: list[int]) -> None:
    assert found(roster, text=asked) == keys


@pytest.mark.parametrize(("wanted", "keys"), [
    ({"school": NORTH}, [1, 2, 4]), ({"school": SOUTH}, [3]), ({"school": NORTH, "text": "garc"}, [1, 4]),
    ({"school": NORTH, "text": "u0"}, [1]), ({"school": NORTH, "text": "obrien"}, []), ({"school": 99}, []),
    ({"role": "teacher"}, [2]), ({"role": "student"}, [1, 3, 4]), ({"role": "nothing"}, []),
    ({"status": "inactive"}, [4]), ({"status": "active", "text": "garcia"}, [1]),
    ({"status": "inactive", "role": "student", "school": NORTH, "text": "leena"}, [4]),
])  # fmt: skip
def test_what_is_found_fits_every_filter(roster: Store, wanted: dict[str, Any], keys: list[int]) -> None:
    assert found(roster, **wanted) == keys


@pytest.mark.parametrize(("kind", "wanted", "keys"), [
    ("classes", {"text": "art"}, [1]), ("classes", {"text": "mull 1"}, [1]), ("classes", {"text": "ART1"}, [1]),
    ("classes", {"text": "C2"}, [2]), ("classes", {"school": SOUTH}, [2]), ("classes", {}, [1, 2]),
    ("classes", {"school": SOUTH, "text": "art"}, []),
    ("organizations", {"text": "sud"}, [SOUTH]), ("organizations", {"text": "S1"}, [NORTH]),
    ("organizations", {"text": "high"}, [NORTH]), ("organizations", {}, [NORTH, SOUTH]),
])  # fmt: skip
def test_classes_and_organizations_are_found_likewise(
    roster: Store, kind: str, wanted: dict[str, Any], keys: list[int]
) -> None:
    assert found(roster, kind, **wanted) == keys


def test_a_page_is_sorted_by_folded_family_name_and_names_the_school(roster: Store) -> None:
    with roster.asking() as read:
        told = search(read, DISTRICT, BY_NAME["users"], Wanted())
    assert [row["user_key"] for row in told.records] == [4, 1, 2, 3]
    assert [row["organization"] for row in told.records] == [None, "North High", "North High", "Süd"]
    assert (told.total, told.more, told.page, told.pages) == (4, False, 1, 1)


def test_more_than_the_most_are_not_counted_and_pages_end_there(
    store: Store, plans: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "MOST", 7)
    monkeypatch.setattr(searching, "PAGE", 3)
    plan = plans.write(0, [person(key, "Ann", f"Lee{key}") for key in range(1, 10)])
    apply(store, plan.folder, plan, plan.run)
    with store.asking() as read:
        pages = [search(read, DISTRICT, BY_NAME["users"], Wanted(text="ann"), page) for page in (0, 2, 3, 99)]
        fewer = search(read, DISTRICT, BY_NAME["users"], Wanted(text="lee1"))
    assert [(page.page, len(page.records), page.total, page.more, page.pages) for page in pages] == [
        (1, 3, 7, True, 3), (2, 3, 7, True, 3), (3, 1, 7, True, 3), (3, 1, 7, True, 3),
    ]  # fmt: skip
    assert (fewer.total, fewer.more) == (1, False)


def test_another_districts_people_and_an_undone_creation_are_not_found(roster: Store, plans: Any) -> None:
    plan = plans.write(0, [person(1, "Leena", "García", user_id="u1")], district_id="other")
    apply(roster, plan.folder, plan, plan.run)
    with roster.backend.connect().begin() as connection:
        connection.execute(text("UPDATE users SET status = 'removed' WHERE user_key = 4"))
    assert found(roster, text="garcia") == [1]
    assert found(roster) == [1, 2, 3]


def test_people_with_an_open_finding_are_those_of_the_last_full_run(roster: Store, plans: Any, tmp_path: Any) -> None:
    for night, (who, code) in enumerate([("u3", "ID-SSN"), ("u1", "VAL-EMAIL")], start=2):
        moment = STARTED.replace(day=night)
        run = {"started_at": moment, "checked_at": moment, "run_id": f"run-{night}"}
        plan = plans.write(night, [], **run)
        path = tmp_path / f"findings-{night}.parquet"
        rows = [
            {"sequence": 1, "entity": "users", "code": code, "severity": "critical", "user_id": who},
            {"sequence": 2, "entity": "users", "code": code, "severity": "critical", "user_source_key": "staff:77"},
        ]
        columns = [column for column in FINDINGS.columns if column.name not in {"district_id", "run_id"}]
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(columns)), path)
        apply(roster, plan.folder, plan, plan.run, path)
    # A night that took the short cut.
    roster.record_run(plans.write(4, [], started_at=STARTED.replace(day=9), checked_at=moment, outcome="in_sync").run)
    assert found(roster, code="VAL-EMAIL") == [1, 2]
    assert found(roster, code="VAL-EMAIL", text="mull") == [2]
    assert found(roster, code="ID-SSN") == []


def test_a_name_that_says_a_word_twice_and_later_names_are_found(store: Store, plans: Any) -> None:
    for state, people in enumerate(
        ([person(1, "Ana Ana", "Ana")], [person(2, "Ana", "Ana Bo"), person(3, "Bo", "Li")])
    ):
        plan = plans.write(state, people)
        apply(store, plan.folder, plan, plan.run)
    assert [found(store, text=asked) for asked in ("ana", "bo", "li")] == [[1, 2], [2, 3], [3]]


def test_a_roster_of_before_is_searched_after_migrating(database_url: str, plans: Any, store: Store) -> None:
    plan = plans.write(0, ROSTER)
    apply(store, plan.folder, plan, plan.run)
    with store.backend.connect().begin() as connection:
        connection.execute(text("DROP TABLE search_names"))
        for name in _indexes(connection):
            connection.execute(text(f"DROP INDEX {name}"))
        connection.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0006'"))
        migrations.upgrade(connection, "0007")  # what came later is there
        newest = migrations.known_revisions()[0]
        connection.execute(text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '{newest}'"))
    assert [found(store, text=asked) for asked in ("garcia", "obrien", "ann", "j")] == [[1, 4], [3], [3], [3]]
    assert found(store, "classes", text="mull") == [1]


def _indexes(connection: Any) -> Iterator[str]:
    """Those that came with it."""
    for entity in NAMES:
        yield from (f"ix_{entity}_{name}" for name in (*NAMES[entity], *CODES.get(entity, ())))
        yield from (f"ix_findings_{name}" for name in said_columns(BY_NAME[entity]))
    yield from (f"ix_users_{name}" for name in ("email", "role", "status"))


# ---- how it is answered ----------------------------------------------------------------------------------------------


_OF_A_MILLION = [
    ("search_names", "search_names", "48708 1001 1001 1 1"), ("users", "users", "597632 1001 1"),
    ("users", "sqlite_autoindex_users_2", "999161 1001 1"), ("users", "sqlite_autoindex_users_3", "999161 1001 1001 1"),
    ("users", "ix_users_given_name", "1024296 501 501"), ("users", "ix_users_family_name", "978120 501 501"),
    ("users", "ix_users_middle_name", "289744 251 251"), ("users", "ix_users_status", "760 1001 1001 1"),
    ("users", "ix_users_role", "34604 1001 1001 1"), ("users", "ix_users_email", "548416 1 1"),
    ("users", "ix_users_user_state_id", "999161 1 1"), ("users", "ix_users_user_district_id", "999161 1 1"),
    ("changes", "ix_changes_state_after", "8700000 200000"), ("changes", "ix_changes_user_key", "8700000 9 9"),
    ("changes", "ix_changes_class_key", "6700000 26 26"), ("changes", "ix_changes_classes", "5000 5000 200"),
    ("changes", "ix_changes_of_classes", "255000 2 2"), ("changes", "ix_changes_of_organizations", "510 2 2"),
    ("enrollments", "enrollments", "6262260 1001 25 1"), ("enrollments", "ix_enrollments_user_key", "6262260 6 6"),
    ("enrollments", "ix_enrollments_created_state", "6262260 1001 1001"),
    ("memberships", "memberships", "1060700 1001 1 1 1"),
    ("memberships", "ix_memberships_organization_key", "1060700 501 501"),
    ("memberships", "ix_memberships_created_state", "1060700 1001 1001"),
    ("changes", "ix_changes_organization_key", "1100000 650 650"), ("runs", "ix_runs_state_after", "3 3 1"),
    ("runs", "sqlite_autoindex_runs_1", "3 3 1"), ("runs", "ix_runs_started_at", "3 3 1"),
]  # fmt: skip
"""What SQLite finds in a roster of a million people, and in its runs after the first of them."""


@pytest.mark.parametrize("kind", ["users", "classes"])
@pytest.mark.parametrize("wanted", [
    {}, {"text": "garc"}, {"text": "garc mar"}, {"text": "j"}, {"school": NORTH}, {"school": NORTH, "text": "ma"},
    {"role": "teacher"}, {"role": "teacher", "text": "ma"}, {"status": "inactive"}, {"code": "ID-SSN"},
    {"code": "ID-SSN", "school": NORTH, "role": "student", "status": "active", "text": "ma"},
], ids=str)  # fmt: skip
def test_no_search_reads_a_whole_table(roster: Store, kind: str, wanted: dict[str, Any]) -> None:
    with roster.asking() as read:
        asked: list[Select[Any]] = []

        def noting(query: Select[Any]) -> list[dict[str, Any]]:
            asked.append(query)
            return read(query)

        search(noting, DISTRICT, BY_NAME[kind], Wanted(**wanted))
    pretend_millions(roster)
    steps = [step for query in asked for step in explained(roster, query)]
    assert steps
    large = ("users", "classes", "memberships", "search_names", "findings", "identifier_history")
    if wanted and kind == "users":
        # What SQLite calls a search then is one through a whole district.
        assert [step for step in steps if step.endswith("users USING PRIMARY KEY (district_id=?)")] == []
    reading = [f"{verb}{table}" for table in large for verb in ("SCAN ", "Seq Scan on ")]
    whole = [step for step in steps if any(words in step for words in reading)]
    assert whole == []


def test_names_of_classes_with_all_words_are_found_out_before_any_class(
    roster: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_COMMON", 0)
    asked: list[Select[Any]] = []
    with roster.asking() as read:

        def noting(query: Select[Any]) -> list[dict[str, Any]]:
            asked.append(query)
            return read(query)

        assert search(noting, DISTRICT, BY_NAME["classes"], Wanted(text="mul 1 ar")).total == 1
    steps = [step for query in asked for step in explained(roster, query)]
    # Else each class is held against each name that has a word.
    assert any("intersect" in step.lower() for step in steps)


@pytest.mark.parametrize("kind", ["users", "classes", "organizations"])
def test_no_profile_of_a_day_reads_what_all_nights_since_then_changed(
    roster: Store, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "state_before", lambda *asked: 1)
    asked: list[Select[Any]] = []
    with roster.asking() as read:

        def noting(query: Select[Any]) -> list[dict[str, Any]]:
            asked.append(query)
            return read(query)

        assert profiling.profile(noting, DISTRICT, BY_NAME[kind], 1, STARTED)
    pretend_millions(roster)
    steps = [step for query in asked for step in explained(roster, query)]
    assert [step for step in steps if "ix_changes_" in step] != []
    tables = ("changes", "memberships", "enrollments")
    whole = (f"{verb} {table}" for table in tables for verb in ("Seq Scan on", "SCAN"))
    reading = ("ix_changes_state_after", "_created_state", "enrollments USING PRIMARY KEY (district_id=?)", *whole)
    assert [step for step in steps if any(words in step for words in reading)] == []
    of_changes = [explained(roster, query) for query in asked if "FROM changes" in str(query)]
    assert of_changes and "SCAN runs" not in [step for steps in of_changes for step in steps]
    # A class's key is that of its enrollments too, a school's that of its members.
    own = [(name, query) for name in ("classes", "organizations") for query in asked if f"= '{name}'" in str(query)]
    assert own or kind == "users"
    for name, query in own:
        found_by = " ".join(explained(roster, query))
        assert f"ix_changes_of_{name}" in found_by or "ix_changes_classes" in found_by


def test_no_row_that_waits_reads_a_whole_table(roster: Store) -> None:
    asked: list[Select[Any]] = []
    row = Waiting("r", "clever", "users", "staff:77", "PLAN-RECYCLED", 2, "staff.csv", 2, {"user_id": "u9"})
    with roster.asking() as read:

        def noting(query: Select[Any]) -> list[dict[str, Any]]:
            asked.append(query)
            return read(query)

        (shown,) = with_candidates(noting, DISTRICT, [row])
    assert [one["user_key"] for one in shown.candidates] == [2]
    pretend_millions(roster)
    steps = [step for query in asked for step in explained(roster, query)]
    whole = ("SCAN ", "Seq Scan on ", "users USING PRIMARY KEY (district_id=?)")
    assert steps and [step for step in steps if step.endswith(whole[2]) or step.startswith(whole[:2])] == []


def test_no_edit_of_a_person_reads_a_whole_table(roster: Store) -> None:
    around = Around(DISTRICT, BY_NAME["users"], 1, {"Z1", "ST-9"})
    pretend_millions(roster)
    for table in (BASE["users"], BASE["enrollments"]):
        query = select(table.c.district_id).where(table.c.district_id == DISTRICT, around.rows(table))
        steps = explained(roster, query)
        whole = ("SCAN ", "Seq Scan on ", "(district_id=?)")
        assert steps and [step for step in steps if any(words in step for words in whole)] == []


def pretend_millions(store: Store) -> None:
    """PostgreSQL is told to count on them by `explained`."""
    if store.backend.dialect.name == "sqlite":
        with store.backend.connect().begin() as connection:
            connection.execute(text("DELETE FROM sqlite_stat1"))
            for table, index, spread in _OF_A_MILLION:
                told = {"table": table, "index": index, "spread": spread}
                connection.execute(text("INSERT INTO sqlite_stat1 VALUES (:table, :index, :spread)"), told)


def explained(store: Store, query: Select[Any]) -> list[str]:
    """The steps by which the database answers, where there is so much that an index is always worth it."""
    with store.backend.connect().begin() as connection:
        postgresql = connection.dialect.name == "postgresql"
        if postgresql:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        compiled = query.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        prefix = "EXPLAIN" if postgresql else "EXPLAIN QUERY PLAN"
        return [str(row[-1]) for row in connection.exec_driver_sql(f"{prefix} {str(compiled).replace('%', '%%')}")]
