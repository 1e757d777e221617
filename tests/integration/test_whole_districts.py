"""A district is copied whole into another database and removed whole, and the other districts notice nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from enrollsync.cli import app
from enrollsync.database import Store, open_store
from enrollsync.database.districts import TABLES
from enrollsync.report.explain import explain
from enrollsync.settings import uploads_folder
from enrollsync.words.errors import DatabaseError
from nightly import Nightly, Query, other, student

ROWS = [student(), other(1, classId="C2"), {**other(2), "userId": "not ok"}]
CHANGED = [student("301"), other(1, classId="C2", userGrade="6"), other(3)]


@pytest.fixture
def district(tmp_path: Path, database_url: str, query: Query, plain_checks: None) -> Callable[[str], Nightly]:
    """`district(id)`: one of several districts of the same database."""

    def made(name: str) -> Nightly:
        folder = tmp_path / f"of {name}"
        folder.mkdir(exist_ok=True)
        nightly = Nightly(folder, database_url, query)
        nightly.settings |= {"district_id": name, "thresholds": {"floor": 1000}}
        return nightly

    return made


@pytest.fixture
def two(district: Callable[[str], Nightly]) -> tuple[Nightly, Nightly]:
    """Lincoln with two nights and a changed identifier, and Adams with one."""
    lincoln, adams = district("lincoln"), district("adams")
    assert [lincoln.run(rows)["outcome"] for rows in (ROWS, CHANGED)] == ["applied", "applied"]
    assert adams.run([student(userFirstName="Otto"), other(9)])["outcome"] == "applied"
    return lincoln, adams


def rows(nightly: Nightly, url: str, district_id: str) -> dict[str, list[Any]]:
    """Table -> every row of a district, in one order."""
    return {
        table.name: sorted(
            (str(tuple(bool(v) if k == "is_primary" and v is not None else v for k, v in row.items()))
             for row in nightly.query(url, f"SELECT {', '.join(table.columns.keys())} FROM {table.name}"
                                           f" WHERE district_id = '{district_id}'")),
        )
        for table in TABLES
    }  # fmt: skip


def command(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["database", *arguments], input=answer)


SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.mark.parametrize(
    ("database_url", "kind"), [("sqlite", "postgresql"), ("postgresql", "sqlite")], indirect=["database_url"]
)
def test_a_copy_has_every_row_of_the_district_alone_and_goes_on_by_itself(
    two: tuple[Nightly, Nightly], tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    lincoln, _ = two
    url = f"sqlite:///{tmp_path}/kept/copy.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    before = rows(lincoln, lincoln.database_url, "lincoln")
    assert sum(bool(held) for held in before.values()) >= 10
    copied = command("copy", url, "--district", lincoln.district)
    assert copied.exit_code == 0, copied.output
    assert rows(lincoln, url, "lincoln") == before == rows(lincoln, lincoln.database_url, "lincoln")
    assert not any(rows(lincoln, url, "adams").values())
    moved = Nightly(lincoln.folder, url, lincoln.query, lincoln.settings)
    assert moved.run(CHANGED)["outcome"] == "in_sync"
    assert "301" in str(explain(open_store(url), "lincoln", "user", "300"))
    assert moved.undo("run-002")["outcome"] == "undone"
    assert ("300",) in moved.view("users", "user_id")


@SQLITE
def test_a_copy_onto_what_is_there_already_is_refused_and_changes_nothing(two: tuple[Nightly, Nightly]) -> None:
    lincoln, _ = two
    before = rows(lincoln, lincoln.database_url, "lincoln")
    refused = command("copy", lincoln.database_url, "--district", lincoln.district)
    assert refused.exit_code == 5 and "it has rows of district lincoln already (" in refused.output
    assert rows(lincoln, lincoln.database_url, "lincoln") == before


@SQLITE
def test_a_copy_that_breaks_leaves_nothing_of_the_district(
    two: tuple[Nightly, Nightly], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lincoln, _ = two
    source, target = open_store(lincoln.database_url), open_store(f"sqlite:///{tmp_path}/copy.db")
    monkeypatch.setattr("enrollsync.database.districts.TABLES", TABLES[::-1])
    with pytest.raises(DatabaseError):
        source.copy_district("lincoln", target)
    assert target.count_district("lincoln") == {}


def test_a_district_goes_whole_after_its_id_is_typed_and_the_others_stay(two: tuple[Nightly, Nightly]) -> None:
    lincoln, adams = two
    url = lincoln.database_url
    adams_rows, before = rows(adams, url, "adams"), rows(lincoln, url, "lincoln")
    upload = uploads_folder("lincoln") / "upload__1"
    upload.mkdir(parents=True)
    (upload / "users.csv").write_text("Leena")
    runs = Path(lincoln.workspace).parent
    for answer in ("", "yes\n", "adams\n"):
        refused = command("remove", "--district", lincoln.district, answer=answer)
        assert refused.exit_code == 2, refused.output
        assert rows(lincoln, url, "lincoln") == before and runs.is_dir() and upload.is_dir()
    shown = refused.output
    counted = {line.split()[0]: line.split()[-1] for line in shown.splitlines() if line[:1].islower()}
    assert counted["users"] == str(len(before["users"])) and counted["runs"] == "2"
    assert str(runs) in shown and "Leena" not in shown
    removed = command("remove", "--district", lincoln.district, answer="lincoln\n")
    assert removed.exit_code == 0, removed.output
    assert not any(rows(lincoln, url, "lincoln").values())
    assert not runs.exists() and not upload.exists()
    assert rows(adams, url, "adams") == adams_rows
    assert Path(adams.workspace).is_dir() and Path(lincoln.district).is_file()
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        kept = b"".join(found.read_bytes() for found in path.parent.iterdir())
        assert b"person3@demo.example" not in kept
    assert lincoln.run(CHANGED)["counts"]["users"]["create"] == 3, "a night after it is a first one"


@SQLITE
def test_the_id_may_be_given_beforehand_and_what_was_cut_off_is_ended_by_the_same_command(
    two: tuple[Nightly, Nightly], monkeypatch: pytest.MonkeyPatch
) -> None:
    lincoln, _ = two
    assert command("remove", "--district", lincoln.district, "--confirm", "adams").exit_code == 2
    assert open_store(lincoln.database_url).count_district("lincoln")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder: (_ for _ in ()).throw(OSError(13, "Permission denied", folder)))
        cut = command("remove", "--district", lincoln.district, "--confirm", "lincoln")
    assert cut.exit_code == 1 and "has nothing of district lincoln any more, but" in cut.output
    assert Path(lincoln.workspace).is_dir()
    assert command("remove", "--district", lincoln.district, "--confirm", "lincoln").exit_code == 0
    assert not Path(lincoln.workspace).exists()
    assert open_store(lincoln.database_url).count_district("lincoln") == {}


def test_a_removal_that_breaks_removes_nothing(store: Store, plans: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from enrollsync.load.apply import apply

    rows = [
        ("organizations", "create", {"organization_key": 1, "organization_id": "S1"}),
        ("users", "create", {"user_key": 1, "user_id": "1"}),
        ("memberships", "create", {"user_key": 1, "organization_key": 1, "role": "student"}),
    ]
    plan = plans.write(0, rows)
    apply(store, plan.folder, plan, plan.run)
    before = store.count_district("demo")
    monkeypatch.setattr("enrollsync.database.districts.TABLES", TABLES[::-1])
    with pytest.raises(DatabaseError):
        store.remove_district("demo")
    assert store.count_district("demo") == before


def test_whoever_has_no_roster_has_no_district_to_copy_or_remove(unmigrated_url: str, tmp_path: Path) -> None:
    store = open_store(unmigrated_url)
    for act in (
        lambda: store.count_district("demo"), lambda: store.remove_district("demo"),
        lambda: store.copy_district("demo", open_store(f"sqlite:///{tmp_path}/copy.db")),
    ):  # fmt: skip
        with pytest.raises(DatabaseError, match="has no roster tables"):
            act()
    assert not (tmp_path / "copy.db").exists()
