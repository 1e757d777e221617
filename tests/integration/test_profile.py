"""What is known of one person, class or organization, now and right after an earlier night."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from enrollsync.database import open_store
from enrollsync.records.profile import profile
from enrollsync.words.canonical import BY_NAME
from nightly import Nightly, other, student


def live(nightly: Nightly) -> Nightly:
    """Leena: 300, then 301 and at two schools, then in the sixth grade, with a line that was rejected that night."""
    nightly.settings |= {"thresholds": {"floor": 1000}, "source": {"path": "delivery", "mode": "snapshot"}}
    nightly.begin([student(), other(1), other(2, classId="C2", className="Art")])
    moved = student("301", schoolId="S2", schoolName="South")
    nightly.run([student("301"), moved, other(1), other(2, classId="C2", className="Art")])
    nightly.run([student("301", userGrade="6"), moved | {"userGrade": "6"}, other(1),
                 other(2, classId="C2", className="Art"), student("301", userGrade="6", classId="#")])  # fmt: skip
    return nightly


def told(nightly: Nightly, kind: str, key: int = 1, after: str | None = None) -> dict[str, Any] | None:
    """The profile, or what it was right after that run."""
    ended = None
    if after:
        ((text,),) = nightly.view("runs", "ended_at", f"run_id = '{after}'")
        ended = datetime.fromisoformat(text) + timedelta(microseconds=1)
    with open_store(nightly.database_url).asking() as read:
        return profile(read, "demo", BY_NAME[kind], key, ended)


def assert_person(lived: Nightly) -> None:
    key = lived.view("users", "user_key", "user_id = '301'")[0][0]
    now, then = told(lived, "users", key), told(lived, "users", key, after="run-001")
    assert now and then
    assert (now["record"]["user_id"], now["record"]["grade"]) == ("301", "6")
    assert (then["record"]["user_id"], then["record"]["grade"]) == ("300", "5")
    assert [name["identifier"] for name in now["earlier"]] == ["300"] and then["earlier"] == []
    assert {row["organization_id"] for row in now["organizations"]} == {"S1", "S2"}
    assert [row["organization_id"] for row in then["organizations"]] == ["S1"]
    assert [row["class_id"] for row in now["classes"]] == ["C1"]
    origin = now["origins"]["grade"]
    assert (origin["run_id"], origin["file"], origin["line"]) == ("run-003", "users.csv", 2)
    assert now["origins"]["given_name"]["run_id"] == then["origins"]["grade"]["run_id"] == "run-001"
    assert {event["run_id"] for event in then["life"]} == {"run-001"}
    assert [event["finding"] for event in now["findings"]] == ["ID-CHARSET"] and then["findings"] == []


def assert_class(lived: Nightly) -> None:
    key = lived.view("classes", "class_key", "class_id = 'C1'")[0][0]
    now, then = told(lived, "classes", key), told(lived, "classes", key, after="run-001")
    assert now and then
    assert now["organization"]["organization_id"] == "S1"
    assert [(row["user_id"], row["role"]) for row in now["people"]] == [("u1", "student"), ("301", "student")]
    assert [row["user_id"] for row in then["people"]] == ["u1", "300"]
    assert (now["total"], now["page"], now["pages"]) == (2, 1, 1)


def assert_organization(lived: Nightly) -> None:
    key = lived.view("organizations", "organization_key", "organization_id = 'S1'")[0][0]
    now, then = told(lived, "organizations", key), told(lived, "organizations", key, after="run-001")
    assert now and then
    assert {row["user_id"] for row in now["people"]} == {"301", "u1", "u2"}
    assert [row["user_id"] for row in then["people"]] == ["u1", "u2", "300"]
    assert [row["class_id"] for row in then["classes"]] == ["C2", "C1"]
    assert [active for _, active in then["nights"]] == [3]
    assert len(now["nights"]) >= 2


def assert_absent(lived: Nightly) -> None:
    key = lived.view("organizations", "organization_key", "organization_id = 'S2'")[0][0]
    assert told(lived, "organizations", key) and told(lived, "organizations", key, after="run-001") is None
    assert told(lived, "users", 999) is None


def test_profiles_tell_what_is_and_what_was_after_an_earlier_night(nightly_everywhere: Nightly) -> None:
    lived = live(nightly_everywhere)
    for check in (assert_person, assert_class, assert_organization, assert_absent):
        check(lived)
