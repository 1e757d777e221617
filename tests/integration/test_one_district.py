"""One synthetic district by every source: what each of them says is the same, and one may follow another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from clever_server import TOKEN, CleverServer, from_csv
from enrollsync.sample import write_sample
from nightly import Nightly, Query

pytestmark = [pytest.mark.usefixtures("plain_checks"), pytest.mark.slow]
BEFORE = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
"""When the files came: before what the API's server says of itself."""
SOURCES = {
    "batch_upload": "batch_upload", "clever": "clever", "clever_api": "clever", "oneroster_1_1": "oneroster",
    "oneroster": "oneroster",
}  # fmt: skip
"""How the district is delivered -> the primary source that this makes."""
VIEWS = {
    "organizations": ("organization_id", "name", "type", "status"),
    "users": (
        "user_id", "role", "given_name", "middle_name", "family_name", "email", "status", "user_district_id",
        "user_state_id", "username", "grade", "birth_date",
    ),
    "memberships": ("user_id", "organization_id", "role", "is_primary", "status"),
    "classes": (
        "class_id", "organization_id", "name", "grade", "status", "course_code", "course_name", "subject", "period",
        "term",
    ),
    "enrollments": ("class_id", "user_id", "role", "is_primary", "status"),
}  # fmt: skip
_IDS_OF_STAFF = {("staff", "user_district_id"), ("staff", "user_state_id")}
_STATE_IDS = {(role, "user_state_id") for role in ("student", "teacher", "staff")}
CANNOT_SAY: dict[str, set[tuple[str, str]]] = {
    "batch_upload": {
        *((role, "username") for role in ("student", "teacher", "staff")),
        *(("classes", column) for column in VIEWS["classes"][5:]),
    },
    "clever": _IDS_OF_STAFF,
    "clever_api": _IDS_OF_STAFF,
    "oneroster_1_1": _STATE_IDS | {("student", "birth_date")},
    "oneroster": _STATE_IDS | {("student", "birth_date")},
}
"""Delivered as -> the role of people, or the view, and the column that the format has no place for."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each way in which the same district is delivered, but for the API's."""
    folder = tmp_path_factory.mktemp("samples")
    for name in SOURCES.keys() - {"clever_api"}:
        write_sample(folder / name, name, 60, 5)
        for path in (folder / name).iterdir():
            os.utime(path, (BEFORE, BEFORE))
    return folder


@pytest.fixture
def server(samples: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CleverServer]:
    """Clever's API with that district."""
    with from_csv(samples / "clever").running() as server:
        monkeypatch.setenv("AIRFLOW_CONN_CLEVER_API", json.dumps({"host": server.url, "password": TOKEN}))
        yield server


def night(nightly: Nightly, samples: Path, name: str, **asked: Any) -> dict[str, Any]:
    """Run a night on the district as it is delivered in that way."""
    fetched = name == "clever_api"
    source = {"api": "clever", "connection": name} if fetched else {"path": str(samples / name)}
    nightly.settings |= {"primary_source": SOURCES[name], "source": source}
    return nightly.run(found=True, **asked)


@pytest.mark.usefixtures("server")
def test_a_district_is_the_same_by_every_source_but_for_what_a_format_cannot_say(
    samples: Path, tmp_path: Path, query: Query, sqlite_template: bytes
) -> None:
    facts: dict[tuple[str, ...], Any] = {}
    records: dict[str, set[tuple[str, ...]]] = {}
    for name in SOURCES:
        home = tmp_path / name
        home.mkdir()
        (home / "roster.db").write_bytes(sqlite_template)
        nightly = Nightly(home, f"sqlite:///{home}/roster.db", query)
        assert night(nightly, samples, name)["outcome"] == "applied"
        for view, columns in VIEWS.items():
            found = set()
            for row in nightly.view(view, ", ".join(columns)):
                record = (view, *(str(value) for value in row[: 3 if view in ("memberships", "enrollments") else 1]))
                found.add(record)
                kind = row[1] if view == "users" else view
                for column, value in zip(columns, row, strict=True):
                    if (kind, column) in CANNOT_SAY[name]:
                        assert value is None, (name, record, column)
                    else:
                        assert facts.setdefault((*record, column), value) == value, (name, record, column)
            assert found == records.setdefault(view, found), (name, view)


@pytest.mark.usefixtures("server")
def test_each_source_takes_over_what_the_one_before_it_had_and_an_undo_gives_it_back(
    samples: Path, nightly: Nightly
) -> None:
    assert night(nightly, samples, "batch_upload")["outcome"] == "applied"
    steps = []
    for name in ("clever", "clever_api", "oneroster"):
        before, kept = nightly.everything(), keys(nightly)
        applied = night(nightly, samples, name, approve=True)
        assert (applied["outcome"], [hold["code"] for hold in applied["holds"]]) == ("applied", ["GUARD-SWITCH"])
        now = keys(nightly)
        for entity, had in kept.items():
            assert {key: now[entity].get(key) for key in had} == had, (name, entity)
            assert len(now[entity]) <= 1.01 * len(had), (name, entity, "made anew")
        steps.append((applied["run_id"], before, kept))
    for run_id, before, kept in reversed(steps):
        assert nightly.undo(run_id)["outcome"] == "undone"
        assert (nightly.everything(), keys(nightly)) == (before, kept)


def keys(nightly: Nightly) -> dict[str, dict[Any, Any]]:
    """Who and what is behind each internal key of the active records, and who is in which class."""
    told = {
        "organizations": "organization_key, name",
        "users": "user_key, email",
        "classes": "class_key, name",
        "enrollments": "user_key || ' ' || class_key, role",
    }
    return {view: dict(nightly.view(view, columns, "status = 'active'")) for view, columns in told.items()}
