"""The way back: a roster as files of each format, read again, as it is and as it was."""

from __future__ import annotations

import csv
import json
import stat
import tempfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from enrollsync import steps
from enrollsync.cli import app
from enrollsync.database import Store, open_store
from enrollsync.database.schema import arrow_schema, columns_of, typed_column
from enrollsync.export import Exported, export_roster
from enrollsync.run.workspace import Workspace
from enrollsync.settings import load_district
from enrollsync.words.canonical import BY_NAME, ENTITIES
from enrollsync.words.errors import ConfigurationError
from nightly import Nightly, Query, clever, other, pupil, section, tutor
from oneroster_files import newer
from written_histories import History

pytestmark = pytest.mark.usefixtures("plain_checks")
TODAY = date(2026, 11, 30)
FORMATS = ("batch_upload", "clever", "oneroster")
Files = dict[str, list[dict[str, str]]]


def read(folder: Path) -> Files:
    """File -> its lines."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open(newline="") as stream:
            found[path.name] = list(csv.DictReader(stream))
    return found


def export(nightly: Nightly, name: str, out: str = "out", **asked: Any) -> Exported:
    """Export the roster of a district into a folder beside it."""
    district, store = load_district(nightly.district), open_store(nightly.database_url)
    return export_roster(district, store, nightly.folder / out, name, **{"today": TODAY, **asked})


def enrollsync(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


# ---- whole nights ----------------------------------------------------------------------------------------------------

BATCH = [
    other(1, userDistrictId="00017"), other(1, userDistrictId="00017", classId="C2", className="Art, the"),
    other(2, userMiddleName='"Q"'), other(3, schoolId="S2", schoolName="South", classId="C3", className="=1+1"),
    other(4, userRole="teacher", userGrade="", primaryTeacher="Y"), other(5, userRole="teacher", userGrade=""),
    other(6, userRole="staff", userGrade="", classId="", className="", schoolId="S2", schoolName="South"),
]  # fmt: skip
TERM = {"Term_name": "2026-27", "Term_start": "8/17/2026", "Term_end": "6/11/2027"}
CLEVER = clever(
    [pupil(1), pupil(2, Student_number="00017", State_id="9")], [tutor("T1"), tutor("T2")],
    [section("X1", Teacher_2_id="T2", **TERM), section("X2")], [("X1", "p-1"), ("X1", "p-2"), ("X2", "p-1")],
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "files"), [("batch_upload", BATCH), ("clever", CLEVER), ("oneroster", newer())])
def test_an_export_is_in_sync_with_its_own_roster_and_makes_the_same_of_an_empty_one(
    nightly: Nightly, tmp_path: Path, name: str, files: Any
) -> None:
    nightly.settings |= {"primary_source": name, "thresholds": {"floor": 1000}}
    nightly.begin(files)
    export(nightly, name)
    again = nightly.run(source=str(nightly.folder / "out"))
    assert again["outcome"] == "in_sync", again
    fresh = Nightly(tmp_path / "fresh", f"sqlite:///{tmp_path}/fresh/roster.db", nightly.query, nightly.settings)
    fresh.folder.mkdir()
    assert fresh.run(source=str(nightly.folder / "out"))["outcome"] == "applied"
    assert fresh.everything() == nightly.everything()
    terms = "class_id, course_code, course_name, subject, period, term"
    assert fresh.view("classes", terms) == nightly.view("classes", terms)


_PERSON = {
    "userId": ["1", "2", "3", "4", "5"], "userRole": ["student", "teacher", "staff"], "userMiddleName": ["", "Q"],
    "userStateId": ["9", "8", ""], "schoolId": ["S1", "S2"], "classId": ["1", "2", ""], "primaryTeacher": ["Y", "N"],
}  # fmt: skip
deliveries = st.lists(
    st.fixed_dictionaries({column: st.sampled_from(values) for column, values in _PERSON.items()}),
    min_size=6, max_size=14,
)  # fmt: skip


def _class(row: dict[str, str]) -> str:
    """A class of the row's own school; none of staff, because a class that nobody is in has no line."""
    return row["schoolId"] + row["classId"] if row["classId"] and row["userRole"] != "staff" else ""


@pytest.mark.slow
@settings(
    max_examples=2, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(rows=deliveries)
def test_whatever_a_delivery_left_its_export_leaves_again(query: Query, rows: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Nightly(Path(folder, name), f"sqlite:///{folder}/{name}.db", query) for name in "ab")
        for nightly in (first, second):
            nightly.folder.mkdir()
            nightly.settings["thresholds"] = {"floor": 1000}
        first.run([other(int(row["userId"]), **row | {"classId": _class(row)}) for row in rows])
        assume(first.view("users"))
        export(first, "batch_upload")
        again = first.run(source=f"{folder}/a/out")
        assert again["outcome"] == "in_sync", again
        second.run(source=f"{folder}/a/out")
        assert second.everything() == first.everything()


# ---- any roster, as each format reads it -----------------------------------------------------------------------------

WORDS = st.sampled_from(["Ann", "García Núñez", 'quote"d', "a, b", "=1+1", "'x", "two\nlines", None])
SCHOOLS = ("S1", "S2")
CLASSES = ("C1", "C2")
PEOPLE = {"a1": "student", "00017": "student", "b-2": "teacher", "t4": "teacher", "f5": "staff"}


def record(entity: str, key: int, name: str, values: dict[str, Any]) -> dict[str, Any]:
    described = BY_NAME[entity]
    return {str(described.key): key, "source_key": name, str(described.identifier): name, **values}


@st.composite
def rosters(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Entity -> rows of the base table, all of them active: people in schools and classes of these schools."""
    grades = st.sampled_from(["Kindergarten", "5", "PostGraduate", None])
    dates = st.sampled_from(["2015-03-09", None])
    names = ("given_name", "middle_name", "family_name", "email", "username", "user_district_id", "user_state_id")
    courses = ("course_code", "course_name", "subject", "period", "term")
    users = [
        record("users", key, name, {"role": role, "grade": draw(grades), "birth_date": draw(dates)}
               | {column: draw(WORDS) for column in names})
        for key, (name, role) in enumerate(PEOPLE.items(), start=1)
    ]  # fmt: skip
    classes = [
        record("classes", key, name, {"organization_key": key, "name": draw(WORDS) or "Math", "grade": draw(grades),
                                      "term_start": draw(dates), "term_end": draw(dates)}
               | {column: draw(WORDS) for column in courses})
        for key, name in enumerate(CLASSES, start=1)
    ]  # fmt: skip
    members = draw(st.lists(st.sampled_from([(1, 1), (2, 2), (3, 1), (4, 2), (4, 1), (5, 1)]), unique=True))
    placed = [pair for pair in members if pair[0] < 5 and draw(st.booleans())]
    primary = {draw(st.sampled_from(placed)) for _ in range(1) if placed}
    return {
        "organizations": [
            record("organizations", key, name, {"name": draw(WORDS) or "North", "type": "school"})
            for key, name in enumerate(SCHOOLS, start=1)
        ],
        "users": users,
        "memberships": [
            {"user_key": user, "organization_key": school, "role": users[user - 1]["role"], "is_primary": False}
            for user, school in members
        ],
        "classes": classes,
        "enrollments": [
            {"class_key": room, "user_key": user, "role": users[user - 1]["role"],
             "is_primary": (user, room) in primary and user > 2}
            for user, room in placed
        ],
    }  # fmt: skip


class Stored:
    """A store that holds rows as they are given, in place of a database."""

    def __init__(self, tables: dict[str, list[dict[str, Any]]]) -> None:
        self.tables = tables

    def export(self, district_id: str, folder: Path) -> int:
        folder.mkdir(parents=True)
        for entity in ENTITIES:
            rows = [{"status": "active", "source": "batch_upload", **row} for row in self.tables[entity.name]]
            schema = arrow_schema([typed_column(column) for column in columns_of(entity)])
            pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{entity.name}.parquet")
        return 1


PERSON = "user_id, role, given_name, family_name, email"
STUDENT = f"{PERSON}, middle_name, grade, user_district_id"
COURSE = "class_id, organization_source_key, name, grade"
ALL_OF_A_COURSE = f"{COURSE}, course_code, course_name, subject, period, term, term_start, term_end"
KEPT = {
    "batch_upload": (dict.fromkeys(("student", "teacher", "staff"), f"{STUDENT}, user_state_id, birth_date"), COURSE),
    "clever": (
        {
            "student": f"{STUDENT}, user_state_id, birth_date, username",
            "teacher": f"{PERSON}, middle_name, user_district_id, user_state_id, username",
            "staff": f"{PERSON}, username",
        },
        ALL_OF_A_COURSE,
    ),
    "oneroster": (dict.fromkeys(("student", "teacher", "staff"), f"{STUDENT}, username"), ALL_OF_A_COURSE),
}  # fmt: skip
"""Source -> what every person of a role keeps there, and every class."""


def canonical(folder: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """The files of a folder as a night reads them, before anything is checked."""
    district = folder / "district.yaml"
    district.write_text(json.dumps({
        "district_id": "demo", "name": "Demo", "primary_source": name, "source": {"path": str(folder / "out")},
        "database": {"url": f"sqlite:///{folder}/roster.db"},
    }))  # fmt: skip
    began = datetime(2026, 11, 30, 7, tzinfo=UTC)
    workspace = steps.start(str(district), run_id=folder.name, as_of=began, dry_run=True)
    steps.ingest(workspace, force=True)
    place = Workspace(Path(workspace))
    return {entity.name: pq.read_table(place.canonical_table(entity.name)).to_pylist() for entity in ENTITIES}


def told(rows: list[dict[str, Any]], columns: str) -> set[tuple[Any, ...]]:
    """Distinct rows, keys of people without their kind."""
    values = ([row[column] for column in columns.split(", ")] for row in rows)
    return {tuple(value.split(":")[-1] if isinstance(value, str) else value for value in row) for row in values}


@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=6, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(roster=rosters())
def test_any_roster_is_read_as_it_was_written(name: str, roster: dict[str, list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        nightly = Nightly(folder, f"sqlite:///{folder}/roster.db", lambda url, sql: [])
        store = cast(Store, Stored(roster))
        made = export_roster(load_district(nightly.district), store, folder / "out", name, today=TODAY)
        found = canonical(folder, name)
    people, course = KEPT[name]
    for role, columns in people.items():
        known = [row for row in roster["users"] if row["role"] == role]
        assert told([row for row in found["users"] if row["role"] == role], columns) == told(known, columns)
    member, place = (
        "user_source_key, organization_source_key, role",
        "class_source_key, user_source_key, role, is_primary",
    )
    expected = {entity: linked(roster, entity) for entity in ("memberships", "classes", "enrollments")}
    members = [row for row in found["memberships"] if row["organization_source_key"]]
    placed = [row for row in found["enrollments"] if row["class_source_key"]]
    assert told(members, member) == told(expected["memberships"], member)
    assert told(placed, place) == told(expected["enrollments"], place)
    classes = [row for row in found["classes"] if row["source_key"]]
    lacking = told(expected["classes"], course) - told(classes, course)
    assert told(classes, course) <= told(expected["classes"], course)
    assert len(lacking) == made.left_out.get("classes", 0)
    assert name == "batch_upload" or not made.left_out


def linked(roster: dict[str, list[dict[str, Any]]], entity: str) -> list[dict[str, Any]]:
    """Rows of the roster that name others by source key, as a batch does, and say yes and no in words."""
    ends = {str(BY_NAME[target].key): target for target in BY_NAME[entity].links.values()}
    return [
        row
        | {f"{key.removesuffix('_key')}_source_key": roster[target][row[key] - 1]["source_key"]
           for key, target in ends.items()}
        | ({"is_primary": str(row["is_primary"]).lower()} if "is_primary" in row else {})
        for row in roster[entity]
    ]  # fmt: skip


# ---- as it was -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("database_url", "seed", "name"), [("sqlite", 3, "clever"), ("postgresql", 5, "oneroster")],
    indirect=["database_url"],
)  # fmt: skip
def test_an_export_as_of_a_day_is_what_was_exported_then_undone_runs_included(
    store: Store, database_url: str, tmp_path: Path, seed: int, name: str
) -> None:
    nightly = Nightly(tmp_path, database_url, lambda url, sql: [], {"timezone": "America/New_York"})
    history, then = History(store, tmp_path, Random(seed)), {}
    for night in range(6):
        history.clock = datetime(2026, 9, 1 + night, 7, tzinfo=UTC)
        history.night()
        export(nightly, name, f"then-{night}")
        then[date(2026, 9, 1 + night)] = read(tmp_path / f"then-{night}")
    assert len({json.dumps(files) for files in then.values()}) > 3
    for day, files in then.items():
        export(nightly, name, f"as-of-{day}", as_of=day)
        assert read(tmp_path / f"as-of-{day}") == files


def test_the_end_of_a_day_is_the_districts_own(store: Store, database_url: str, tmp_path: Path) -> None:
    nightly = Nightly(tmp_path, database_url, lambda url, sql: [], {"timezone": "America/New_York"})
    history = History(store, tmp_path, Random(1))
    history.clock = datetime(2026, 9, 2, 2, 30, tzinfo=UTC)  # ends at half past eleven in the evening of the first
    history._edit()
    for day, rows in ((date(2026, 8, 31), 0), (date(2026, 9, 1), 1)):
        made = export(nightly, "oneroster", f"out-{day}", as_of=day)
        assert bool(made.files["orgs.csv"]) == bool(rows)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_before_the_first_run_there_are_headers_alone_and_still_no_database(nightly_from_nothing: Nightly) -> None:
    for name in FORMATS:
        out = nightly_from_nothing.folder / name
        ended = enrollsync("export", str(out), "--district", nightly_from_nothing.district, "--format", name, "--json")
        assert ended.exit_code == 0
        files = json.loads(ended.stdout)["files"]
        assert {file for file, rows in files.items() if rows} <= {"manifest.csv"}
        assert all(len(path.read_text().splitlines()[0].split(",")) > 1 for path in out.iterdir())
    assert not (nightly_from_nothing.folder / "roster.db").exists()


def test_what_is_written_is_its_owners_alone_and_nothing_else_is_left(nightly: Nightly) -> None:
    nightly.begin(BATCH)
    before = {path.name for path in nightly.folder.iterdir()}
    for out in ("folder", "packed.zip"):
        ended = enrollsync(
            "export", str(nightly.folder / out), "--district", nightly.district, "--format", "batch_upload"
        )
        assert (ended.exit_code, "users.csv: 7 rows" in ended.output) == (0, True)
    folder, packed = nightly.folder / "folder", nightly.folder / "packed.zip"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "users.csv", packed)]
    assert modes == [0o700, 0o600, 0o600]
    assert {path.name for path in nightly.folder.iterdir()} == before | {"folder", "packed.zip", "district.yaml"}
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["users.csv"]
        assert archive.read("users.csv") == (folder / "users.csv").read_bytes()


def test_a_spreadsheet_takes_no_cell_for_a_formula(nightly: Nightly) -> None:
    nightly.begin(BATCH)
    export(nightly, "batch_upload", "plain")
    export(nightly, "batch_upload", "safe", spreadsheet=True)
    names = {out: {row["className"] for row in read(nightly.folder / out)["users.csv"]} for out in ("plain", "safe")}
    assert names["plain"] - names["safe"] == {"=1+1"}
    assert names["safe"] - names["plain"] == {"'=1+1"}


@pytest.mark.parametrize(("arguments", "says"), [
    (("--format", "excel"), "--format 'excel': not known; use batch_upload, clever, oneroster"),
    (("--format", "clever", "--as-of", "2999-01-01"), "that day has not begun where the district is"),
    (("--format", "clever", "--as-of", "yesterday"), "yesterday"),
    ((), "Missing option '--format'"),
])  # fmt: skip
def test_wrong_usage_ends_with_2_and_one_line_and_writes_nothing(
    nightly: Nightly, arguments: tuple[str, ...], says: str
) -> None:
    out = nightly.folder / "out"
    ended = enrollsync("export", str(out), "--district", nightly.district, *arguments)
    assert (ended.exit_code, len(ended.stderr.splitlines())) == (2, 1)
    assert says in ended.stderr
    assert not out.exists()


@pytest.mark.parametrize("out", ["there", "there.zip"])
def test_what_is_there_is_never_written_over(nightly: Nightly, out: str) -> None:
    place = nightly.folder / out
    place.mkdir() if out == "there" else place.write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already; name a new folder, or a new zip"):
        export(nightly, "clever", out)
    assert list(place.iterdir()) == [] if out == "there" else place.read_text() == "mine"


def test_a_place_that_cannot_be_ends_with_2_and_one_line(nightly: Nightly) -> None:
    (nightly.folder / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made there: .*; name a new folder or zip where"):
        export(nightly, "clever", "file/out")
