"""A district's file: what may stand in it, and what is said when something else does."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from enrollsync.formats.batch_upload import BATCH_UPLOAD
from enrollsync.formats.clever import CLEVER
from enrollsync.settings import District, claimed_twice, districts_folder, load_district, project_root
from enrollsync.words.errors import ConfigurationError
from secret_urls import MALFORMED, SECRET, WITH_A_PASSWORD

SMALLEST: dict[str, Any] = {
    "district_id": "demo", "name": "Demo Unified", "primary_source": "batch_upload",
    "source": {"path": "data/landing/demo"}, "database": {"url": "sqlite:///data/demo.db"},
}  # fmt: skip


def load(folder: Path, text: str) -> District:
    path = folder / "district.yaml"
    path.write_text(text)
    return load_district(str(path))


def with_key(dotted: str, value: Any) -> str:
    """The smallest file with one key set, `thresholds.floor` style; None takes the key out."""
    content = yaml.safe_load(yaml.safe_dump(SMALLEST))
    *sections, key = dotted.split(".")
    place = content
    for section in sections:
        place = place.setdefault(section, {})
    place[key] = value
    if value is None:
        del place[key]
    return yaml.safe_dump(content)


def window(first: Any, last: Any, **more: Any) -> dict[str, Any]:
    return {"from": first, "to": last, **more}


def problem(folder: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as wrong:
        load(folder, text)
    return str(wrong.value)


# ---- whose files they speak of -------------------------------------------------------------------


def test_what_is_said_of_the_primary_sources_files_is_not_said_of_anothers(tmp_path: Path) -> None:
    said = {"encoding": "cp1252", "columns": {"Student_id": "userId"}, "mode": "snapshot"}
    more = {"primary_source": "clever", "source": {"path": "x", **said}, "identifiers": {"columns": {"users": "Id"}}}
    district = load(tmp_path, yaml.safe_dump(SMALLEST | more))
    own, other = district.fitted(CLEVER), district.fitted(BATCH_UPLOAD)
    assert (own.encoding, own.renames, own.mode) == ("cp1252", (("Student_id", "userId"),), "snapshot")
    assert own.called("students.csv", "users", "user_id") == "Id"
    assert other == BATCH_UPLOAD


# ---- what may stand there -----------------------------------------------------------------------


def test_the_smallest_file_has_the_defaults_of_the_design(tmp_path: Path) -> None:
    district = load(tmp_path, yaml.safe_dump(SMALLEST))
    assert (district.schedule, district.timezone, district.source.mode, district.source.encoding) == (
        None, "UTC", None, "utf-8",
    )  # fmt: skip
    limits = district.thresholds
    assert (limits.deactivate_percent, limits.update_percent, limits.floor) == (10, 75, 5)
    assert (district.identifiers.ssn, district.identifiers.charset, district.recheck_days) == ("warning", None, 7)
    assert district.size == "small"


def test_limits_of_fields_extend_and_override_those_of_names_and_birth_dates(tmp_path: Path) -> None:
    usual = {"given_name": 5, "family_name": 5, "birth_date": 5}
    assert load(tmp_path, yaml.safe_dump(SMALLEST)).thresholds.fields == usual
    found = load(tmp_path, with_key("thresholds.fields", {"email": 20, "birth_date": 100})).thresholds.fields
    assert found == {**usual, "email": 20, "birth_date": 100}


def test_the_district_that_ships_can_be_read() -> None:
    assert load_district(str(Path(__file__).parents[2] / "include" / "districts" / "demo.yaml")).district_id == "demo"


@pytest.mark.parametrize(("key", "value"), [
    ("schedule", "0 2 * * *"), ("timezone", "America/New_York"), ("source.mode", "snapshot"),
    ("source.connection", "district_sftp"), ("source.columns", {"sis_id": "userId"}), ("source.encoding", "cp1252"),
    ("identifiers.ssn", "critical"), ("identifiers.ssn", "off"), ("identifiers.charset", "extended"),
    ("identifiers.columns", {"users": "userStateId"}), ("thresholds.deactivate_percent", 0),
    ("thresholds.update_percent", 100), ("thresholds.deactivate_percent", 12.5), ("thresholds.floor", 0),
    ("recheck_days", 0), ("size", "large"), ("district_id", "North_East-7"), ("thresholds.windows", []),
    ("pauses", []), ("source.values", {"grade": {"TK": "PreKindergarten"}, "userRole": {"Pupil": "student"}}),
    ("source.path", "s3://bucket/in"), ("source.ready", "manifest"), ("source.ready", ".done"), ("source.ready", 120),
    ("source.watch", True), ("source.case", {"userEmail": "lower"}), ("source.skip", []),
])  # fmt: skip
def test_every_key_of_the_design_is_taken(tmp_path: Path, key: str, value: Any) -> None:
    place: Any = load(tmp_path, with_key(key, value))
    for name in key.split("."):
        place = getattr(place, name)
    assert place == value


def test_a_source_may_be_an_api_behind_a_connection(tmp_path: Path) -> None:
    api = SMALLEST | {"primary_source": "clever", "source": {"api": "clever", "connection": "clever_demo"}}
    source = load(tmp_path, yaml.safe_dump(api)).source
    assert (source.api, source.connection, source.path) == ("clever", "clever_demo", None)
    assert source.place == "the API behind the connection clever_demo"


def test_limits_may_differ_by_entity_organization_and_date(tmp_path: Path) -> None:
    text = (
        yaml.safe_dump(SMALLEST)
        + """
thresholds:
  floor: 7
  entities: {enrollments: {deactivate_percent: 25}}
  organizations: {"0012": {floor: 20}}
  windows:
    - {from: 2026-08-01, to: 2026-08-20, deactivate_percent: 60, update_percent: 100, name: roll-over}
    - {from: "2026-08-21", to: 2026-08-21, floor: 50}
"""
    )
    limits = load(tmp_path, text).thresholds
    assert (limits.deactivate_percent, limits.floor) == (10, 7)
    assert limits.entities["enrollments"].deactivate_percent == 25
    assert limits.organizations["0012"].model_dump(exclude_none=True) == {"floor": 20}
    assert [(str(one), one.first, one.deactivate_percent, one.floor) for one in limits.windows] == [
        ("roll-over (2026-08-01 to 2026-08-20)", date(2026, 8, 1), 60, None),
        ("2026-08-21 to 2026-08-21", date(2026, 8, 21), None, 50),
    ]


@pytest.mark.parametrize(("moment", "name"), [
    (datetime(2026, 12, 21, 4, 59, tzinfo=UTC), None),  # still the 20th in New York
    (datetime(2026, 12, 21, 5, 0, tzinfo=UTC), "winter break (2026-12-21 to 2027-01-03)"),
    (datetime(2027, 1, 4, 4, 59, tzinfo=UTC), "winter break (2026-12-21 to 2027-01-03)"),
    (datetime(2027, 1, 4, 5, 0, tzinfo=UTC), "2027-01-02 to 2027-01-04"),
])  # fmt: skip
def test_pauses_hold_from_their_first_day_to_their_last_in_the_districts_time_zone(
    tmp_path: Path, moment: datetime, name: str | None
) -> None:
    text = (
        yaml.safe_dump(SMALLEST | {"timezone": "America/New_York"})
        + """
pauses:
  - {from: 2026-12-21, to: 2027-01-03, name: winter break}
  - {from: 2027-01-02, to: 2027-01-04}
"""
    )
    pause = load(tmp_path, text).pause_at(moment)
    assert (pause and str(pause)) == name


def test_an_unquoted_identifier_with_leading_zeros_is_refused_before_it_means_another(tmp_path: Path) -> None:
    text = yaml.safe_dump(SMALLEST) + "thresholds: {organizations: {0012: {floor: 20}}}\n"
    assert "write the identifier in quotation marks" in problem(tmp_path, text)


def test_a_bare_off_is_off(tmp_path: Path) -> None:
    text = yaml.safe_dump(SMALLEST) + "identifiers: {ssn: off}\n"
    assert load(tmp_path, text).identifiers.ssn == "off"


def test_a_district_cannot_be_changed_once_read(tmp_path: Path) -> None:
    district = load(tmp_path, yaml.safe_dump(SMALLEST))
    with pytest.raises(ValueError, match="frozen"):
        district.name = "Other"


# ---- what is said -------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value", "said"), [
    ("district_id", None, "`district_id` is missing; add it"),
    ("source.path", None, "`source`: needs `path`, a folder or a zip, or `api: clever` with a `connection`"),
    ("source.api", "clever", "`source`: has `path` and `api`; leave one out"),
    ("source.path", "sftp://files.example/in", "is no place that is read; write a folder, or one like s3://bucket/fol"),
    ("source", {"api": "clever", "connection": "c", "watch": True}, "`watch` looks where deliveries lie, and `api`"),
    ("source.api", "classlink", "`source.api`: Input should be 'clever' (found 'classlink')"),
    ("source", {"api": "clever"}, "`source`: `api` needs `connection`, the name of an Airflow connection"),
    ("source", {"api": "clever", "connection": "c", "encoding": "cp1252"}, "`columns` and `encoding` speak of files"),
    ("source", {"api": "clever", "connection": "c"}, "`source.api` is clever, so `primary_source` has to be that too"),
    ("colour", "red", "`colour` is no known key; remove it or correct its spelling"),
    ("source.pth", "x", "`source.pth` is no known key"),
    ("thresholds.flor", 3, "`thresholds.flor` is no known key"),
    ("timezone", "New York", "`timezone`: is no time zone; write one like America/New_York (found 'New York')"),
    ("primary_source", "excel", "`primary_source`: Input should be 'batch_upload', 'clever' or 'oneroster'"),
    ("source.mode", "full", "`source.mode`: Input should be 'snapshot' or 'delta'"),
    ("identifiers.ssn", "no", "`identifiers.ssn`: Input should be 'critical', 'warning' or 'off'"),
    ("thresholds.deactivate_percent", 101, "`thresholds.deactivate_percent`: Input should be less than or equal"),
    ("thresholds.update_percent", -1, "`thresholds.update_percent`: Input should be greater than or equal"),
    ("thresholds.floor", "few", "`thresholds.floor`: Input should be a valid integer"),
    ("district_id", "a b", "`district_id`: String should match"),
    ("district_id", "../demo", "`district_id`: String should match"),
    ("district_id", "demo\n", "`district_id`: String should match"),
    ("district_id", "", "`district_id`: String should match"),
    ("database", {}, "`database`: needs either `url` or `connection`"),
    ("database.connection", "db", "`database`: needs either `url` or `connection`"),
    ("source", "x", "`source`: Input should be"),
    *(
        ("source.encoding", name, "`source.encoding`: is no encoding of text files; write one like utf-8 or cp1252")
        for name in ("utf-9", "utf-7", "u7", "unicode_escape", "base64", "rot13", "undefined", "idna", "", "a\\0b")
    ),
    ("source.values", {"grad": {"TK": "K"}}, "`source.values.grad` is no column of batch_upload; write a header"),
    ("source.values", {"grade": {"TK": "PreKay"}}, "`source.values.grade`: PreKay is nothing that a roster says"),
    ("source.values", {"grade": {7: "7"}}, 'is read as no text; write it in quotation marks, like "07"'),
    ("source.values", {"grade": {"TK": "K", "tk": "1"}}, "has TK, tk more than once, in any case; keep one of them"),
    ("source.values", {"grade": {}}, "`source.values.grade`: Dictionary should have at least 1 item"),
    *(
        ("source.ready", sign, "`source.ready`: is no sign of completeness; write `manifest`, a file's name like .done")
        for sign in (0, 86_401, True, "users.csv", "../done", "..", [])
    ),
    ("source.case", {"userEmail": "small"}, "`source.case.userEmail`: Input should be 'lower' or 'upper'"),
    ("source.case", {"mail": "lower"}, "`source.case.mail` is no column of batch_upload"),
    ("source.skip", [{"file": "students.csv", "column": "Status", "one_of": ["Gone"]}],
     "`source.skip`, rule 1: students.csv is no file that is read; write one of users.csv, id_changes.csv"),
    ("source.skip", [{"file": "users.csv", "column": "Status", "one_of": [False]}], "is read as no text; write it in"),
    ("source.skip", [{"file": "users.csv", "column": "Status", "one_of": []}], "`source.skip.0.one_of`: List should"),
    ("identifiers.columns", {"users": "Line"}, "cannot be read under this name; give the column another one"),
    ("identifiers.columns", {"user": "userStateId"}, "Input should be 'organizations', 'users', 'classes'"),
    ("thresholds.entities", {"user": {}}, "`thresholds.entities.user.[key]`: Input should be 'organizations', 'users'"),
    ("thresholds.entities", {"users": {"flor": 3}}, "`thresholds.entities.users.flor` is no known key"),
    ("thresholds.organizations", {"S1": {"update_percent": 101}},
     "`thresholds.organizations.S1.update_percent`: Input should be less than or equal to 100 (found 101)"),
    ("thresholds.organizations", {"S1": {"windows": []}}, "`thresholds.organizations.S1.windows` is no known key"),
    ("thresholds.organizations", {10: {"floor": 3}},
     '`thresholds.organizations.10.[key]`: is read as no text; write the identifier in quotation marks, like "0012"'),
    ("thresholds.windows", [{"from": date(2026, 8, 1)}], "`thresholds.windows.0.to` is missing; add it"),
    ("thresholds.windows", [window("2026-08-01", "2026-08-20", until="x")], "`thresholds.windows.0.until` is no known"),
    ("thresholds.windows", [window(20260801, "2026-08-20")],
     "`thresholds.windows.0.from`: is no date; write one like 2026-08-01 (found 20260801)"),
    ("thresholds.windows", [window("2026-08-01", "20 August")], "`thresholds.windows.0.to`: is no date; write one"),
    ("thresholds.windows", [window("2026-08-21", "2026-08-20")],
     "`thresholds.windows.0`: `from` 2026-08-21 is after `to` 2026-08-20; write the earlier day as `from`"),
    ("thresholds.windows", [window("2026-08-20", "2026-09-02"), window("2026-08-01", "2026-08-20", name="roll-over")],
     "`thresholds.windows`: roll-over (2026-08-01 to 2026-08-20) and 2026-08-20 to 2026-09-02 overlap; end the first "
     "before 2026-08-20, or make them one"),
    ("thresholds.windows", [window("2026-01-01", "2026-12-31"), window("2026-03-01", "2026-03-02"),
                            window("2027-01-01", "2027-01-02")], "2026-01-01 to 2026-12-31 and 2026-03-01 to"),
    ("thresholds.fields", {"first_name": 5}, "`thresholds.fields`: 'first_name' is no field of users; write"),
    ("thresholds.fields", {"email": 101}, "`thresholds.fields.email`: Input should be less than or equal to 100"),
    ("thresholds.windows", [window("2026-08-01", "2026-08-20", fields={"floor": 5})],
     "`thresholds.windows.0.fields`: 'floor' is no field of users"),
    ("thresholds.windows", window("2026-08-01", "2026-08-20"), "`thresholds.windows`: Input should be a valid list"),
    ("pauses", [window("2026-12-31", "2026-12-21")], "`pauses.0`: `from` 2026-12-31 is after `to` 2026-12-21; write"),
    ("pauses", [window("2026-12-21", "2027-01-03", floor=3)], "`pauses.0.floor` is no known key"),
    ("pauses", [window("in winter", "2027-01-03")], "`pauses.0.from`: is no date; write one like 2026-08-01"),
    ("recheck_days", 36_501, "`recheck_days`: Input should be less than or equal to 36500"),
    ("size", "huge", "`size`: Input should be 'small' or 'large' (found 'huge')"),
    ("source.due_hours", 87_601, "`source.due_hours`: Input should be less than or equal to 87600"),
    ("source.due_hours", float("inf"), "`source.due_hours`: Input should be a finite number"),
    ("source.due_hours", float("nan"), "`source.due_hours`: Input should be a finite number"),
    ("thresholds.deactivate_percent", True, "`thresholds.deactivate_percent`: Input should be a valid number (found"),
    ("thresholds.update_percent", "75", "`thresholds.update_percent`: Input should be a valid number (found '75')"),
    ("thresholds.floor", 5.0, "`thresholds.floor`: Input should be a valid integer (found 5.0)"),
    ("recheck_days", False, "`recheck_days`: Input should be a valid integer (found False)"),
    ("source.due_hours", True, "`source.due_hours`: Input should be a valid number (found True)"),
    ("name", "Demo\nUnified", "`name`: has a character that does not print; write one line of text"),
    ("owner", {"name": "a\x1b[31m"}, "`owner.name`: has a character that does not print"),
    ("notify.webhook", "https://hooks.example/T/1", "`notify.webhook`: is no name of an Airflow connection; put the"),
])  # fmt: skip
def test_an_error_says_file_key_and_what_to_write(tmp_path: Path, key: str, value: Any, said: str) -> None:
    message = problem(tmp_path, with_key(key, value))
    assert message.startswith(f"{tmp_path / 'district.yaml'}: ")
    assert said in message


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    message = problem(tmp_path, "district_id: demo\ncolour: red\n")
    assert all(f"`{key}`" in message for key in ("name", "primary_source", "source", "database", "colour"))


@pytest.mark.parametrize("text", ["", "- demo\n", "demo\n", "null\n"])
def test_a_file_without_keys_is_told_what_it_must_be(tmp_path: Path, text: str) -> None:
    assert "must be a list of `key: value` lines" in problem(tmp_path, text)


@pytest.mark.parametrize("content", [b"a: [1, 2", b"a: b: c", b"name: Jos\xe9"])
def test_a_file_that_is_no_yaml_gets_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "district.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match="not readable as YAML") as wrong:
        load_district(str(tmp_path / "district.yaml"))
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(("line", "said"), [
    ("thresholds: {windows: [{from: 2027-02-29, to: 2027-03-05}]}",
     "`thresholds.windows.0.from`: is no date; write one like 2026-08-01 (found '2027-02-29')"),
    ("name: !!timestamp 2027-02-29", "not readable as YAML: line 5: cannot be read as timestamp; write text in"),
    ("name: 0x_", "not readable as YAML: line 5: cannot be read as int; write text in quotation marks"),
    ("name: !!bool maybe", "line 5: cannot be read as bool; write text in quotation marks"),
    ("? [[1]]\n: 2", "not readable as YAML: line 6: while constructing a mapping, found unhashable key"),
])  # fmt: skip
def test_a_value_that_yaml_itself_cannot_read_gets_one_line(tmp_path: Path, line: str, said: str) -> None:
    content = "".join(f"{key}: {value}\n" for key, value in SMALLEST.items() if key != "name" or "name" not in line)
    message = problem(tmp_path, f"{content}{line}\n")
    assert said in message and "\n" not in message


def test_a_date_where_text_belongs_is_that_text(tmp_path: Path) -> None:
    text = yaml.safe_dump({key: value for key, value in SMALLEST.items() if key != "name"})
    assert load(tmp_path, f"{text}name: 2026-08-01\n").name == "2026-08-01"


def test_a_byte_that_is_no_text_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "district.yaml").write_bytes(b"district_id: demo\nname: Jos\xe9\n")
    with pytest.raises(ConfigurationError, match="line 2: a byte is not UTF-8; save the file as UTF-8"):
        load_district(str(tmp_path / "district.yaml"))


@pytest.mark.parametrize(("more", "said"), [
    ("name: Other\n", "line 6: `name` stands there twice; remove one"),
    ("thresholds:\n  floor: 1\n  update_percent: 5\n  floor: 9\n", "line 9: `floor` stands there twice"),
    ("notify: {events: [{a: 1, a: 2}]}\n", "line 6: `a` stands there twice"),
])  # fmt: skip
def test_a_key_that_stands_there_twice_is_named_with_its_line(tmp_path: Path, more: str, said: str) -> None:
    text = yaml.safe_dump(SMALLEST, default_flow_style=None)
    assert len(text.splitlines()) == 5
    assert said in problem(tmp_path, text + more)


def test_a_merged_key_may_be_set_anew(tmp_path: Path) -> None:
    more = "thresholds:\n  entities:\n    users: &a {floor: 1}\n    classes: {<<: *a, floor: 2}\n"
    entities = load(tmp_path, yaml.safe_dump(SMALLEST) + more).thresholds.entities
    assert (entities["users"].floor, entities["classes"].floor) == (1, 2)


@pytest.mark.parametrize(("text", "said"), [
    ("a0: &a0 {k: 1}\n" + "".join(f"a{n + 1}: &a{n + 1} {{<<: [{', '.join([f'*a{n}'] * 9)}]}}\n" for n in range(9)),
     "line 6: more than 100,000 values, with what aliases repeat; write fewer"),
    ("a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
     "line 6: more than 100,000 values"),
    ("a: &a [*a]\n", "line 1: an alias stands within what it repeats; write it out"),
    ("[" * 500_000, "line 1: more than 20 levels deep; indent less"),
    ("a: [" + "1, " * 200_000 + "]", "line 1: more than 100,000 values"),
    ("a: " + "x" * 1_000_000, "is larger than 1,000,000 bytes; name a district file"),
])  # fmt: skip
def test_a_file_that_would_keep_the_reader_busy_is_refused_before_it_does(
    tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("enrollsync.settings.yaml_file.yaml.load", lambda *_, **__: pytest.fail("was built"))
    assert said in problem(tmp_path, text)


def test_what_is_wrong_many_times_is_said_ten_times(tmp_path: Path) -> None:
    message = problem(tmp_path, yaml.safe_dump(SMALLEST | {f"key{number}": 1 for number in range(10_000)}))
    assert message.endswith("and 9,990 more") and len(message) < 1_000


def test_yaml_that_would_run_code_is_refused(tmp_path: Path) -> None:
    message = problem(tmp_path, "district_id: !!python/object/apply:os.system ['true']\n")
    assert "not readable as YAML" in message


# ---- what is never said -------------------------------------------------------------------------


@pytest.mark.parametrize("place", [
    "database", "database.url", "database.connection", "database:", "database.url:", "source", "source:",
    "source.connection", "notify.webhook", "notify:", "owner.link", "identifiers.columns:", "thresholds.floor",
])  # fmt: skip
def test_a_database_address_is_never_quoted_wherever_it_was_put(tmp_path: Path, place: str) -> None:
    for url in (*MALFORMED, *WITH_A_PASSWORD):
        if url != SECRET or place.startswith("database"):  # elsewhere a mere word is nothing but that
            text = with_key(place.rstrip(":"), {url: 1} if place.endswith(":") else url)
            assert SECRET not in problem(tmp_path, text), url


@pytest.mark.parametrize("lines", [
    f"database: postgresql://u:{SECRET}@h/d", f"database: {{postgresql://u:{SECRET}@h/d}}",
    f"database: {{url:postgresql://u:{SECRET}@h/d}}", f"database: {{url: postgresql://u:p,{SECRET}@h/d}}",
    f"database: *{SECRET}", f"database: !{SECRET} x", f"database: !!int {SECRET}", f"database: !!bool {SECRET}",
    f"database: {{url: !!float {SECRET}}}", f"database: {{url: 'postgresql://u:{SECRET}@h/d}}",
    f"database: {{url: postgresql://u:{SECRET}@h: d}}", f"database: [postgresql://u:{SECRET}@h/d]",
    f"database: {{url: [{SECRET}]}}", f"database:\n  ? postgresql://u:{SECRET}@h/d\n  ? postgresql://u:{SECRET}@h/d",
    f"database: {{connection: {{password: {SECRET}}}}}", f"notify: {{webhook: https://hooks.example/{SECRET}}}",
    f"{SECRET}://u@h: 1\n{SECRET}://u@h: 2",
])  # fmt: skip
def test_a_password_is_not_quoted_however_the_file_is_broken(tmp_path: Path, lines: str) -> None:
    text = yaml.safe_dump({key: value for key, value in SMALLEST.items() if key != "database"})
    assert SECRET not in problem(tmp_path, f"{text}{lines}\n")


@pytest.mark.parametrize("url", WITH_A_PASSWORD)
def test_a_password_in_the_file_is_refused_and_told_where_it_belongs(tmp_path: Path, url: str) -> None:
    message = problem(tmp_path, with_key("database.url", url))
    assert "`database.url`: holds a password, and none may stand in a file; write `connection:`" in message


@pytest.mark.parametrize("key", ["source.path", "owner.link"])
def test_a_login_in_another_address_is_refused_unquoted(tmp_path: Path, key: str) -> None:
    message = problem(tmp_path, with_key(key, f"https://u:{SECRET}@h/in"))
    assert f"`{key}`: holds a login, and none may stand in a file" in message and SECRET not in message


def test_a_nul_in_the_databases_address_gets_one_line(tmp_path: Path) -> None:
    message = problem(tmp_path, with_key("database.url", "sqlite:///a\0b.db"))
    assert "`database.url`: write sqlite:///folder/file.db" in message and "does not print" in message


@pytest.mark.parametrize(("key", "value"), [
    ("source.path", "a\x1b[31mb"), ("name\nERROR", 1), ("timezone", "a\nb"), ("colour\x1b[2J", "red"),
])  # fmt: skip
def test_control_characters_of_keys_and_values_reach_no_terminal(tmp_path: Path, key: str, value: Any) -> None:
    text = with_key(key, value) + yaml.safe_dump({"shape": 1})
    assert problem(tmp_path, text).isprintable()


# ---- which file is meant ------------------------------------------------------------------------


@pytest.fixture
def districts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "districts"
    folder.mkdir()
    monkeypatch.setenv("ENROLLSYNC_DISTRICTS", str(folder))
    (folder / "north.yaml").write_text(yaml.safe_dump(SMALLEST | {"district_id": "north"}))
    return folder


def test_a_name_means_a_file_of_the_districts_folder(districts: Path) -> None:
    assert districts_folder() == districts
    assert load_district("north").district_id == "north"


def test_a_path_means_itself(districts: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "mine.yml"
    elsewhere.write_text((districts / "north.yaml").read_text())
    assert load_district(str(elsewhere)).district_id == "north"


@pytest.mark.parametrize("name", ["south", "south.yaml", "", "north.txt"])
def test_a_district_that_is_not_there_is_told_which_are(districts: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="districts here: north"):
        load_district(name)


@pytest.mark.parametrize(
    ("claims", "taken"),
    [
        ({"a": "a", "b": "b"}, {}),
        ({"a_copy": "lincoln", "lincoln": "lincoln"}, {"a_copy": "lincoln.yaml"}),
        ({"west": "lincoln", "east": "lincoln"}, {"west": "east.yaml"}),
        ({"a": "b", "b": "b", "c": "b"}, {"a": "b.yaml", "c": "b.yaml"}),
    ],
)
def test_a_district_id_belongs_to_the_file_of_that_name_else_to_the_first(
    claims: dict[str, str], taken: dict[str, str]
) -> None:
    found = claimed_twice({Path(f"{name}.yaml"): claimed for name, claimed in claims.items()})
    assert {path.stem: re.findall(r"by (\S+);", why) for path, why in found.items()} == {
        name: [owner] for name, owner in taken.items()
    }


def test_relative_paths_start_at_the_home_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENROLLSYNC_DISTRICTS", raising=False)
    monkeypatch.setenv("ENROLLSYNC_HOME", str(tmp_path))
    assert districts_folder() == tmp_path / "include" / "districts"


def test_a_relative_home_is_the_folder_that_it_means_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENROLLSYNC_HOME", "home")
    assert project_root() == tmp_path / "home"


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".yaml"])
def test_a_district_that_cannot_be_looked_for_gets_one_line(districts: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="its file cannot be looked for: File name too long"):
        load_district(name)


def test_settings_that_the_run_book_shows_can_be_used(tmp_path: Path) -> None:
    project = Path(__file__).resolve().parents[2]
    blocks = re.findall(r"```yaml\n(.*?)```", (project / "docs" / "operations.md").read_text(), re.S)
    shown = [text for text in blocks if "services" not in yaml.safe_load(text)]  # that is Compose's
    assert len(shown) == 5
    for text in shown:
        content = yaml.safe_load((project / "include/districts/demo.yaml").read_text())
        for key, value in yaml.safe_load(text).items():
            content[key] = {**content[key], **value} if key == "source" else value
        path = tmp_path / "demo.yaml"
        path.write_text(yaml.safe_dump(content))
        assert load_district(str(path)).district_id == "demo"
