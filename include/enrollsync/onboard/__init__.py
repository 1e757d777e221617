"""A first district file: a delivery is looked at (`look`), what that tells is written down (`write`), and then checked.

What the check of the delivery finds is what a district will have to do with: it is told as any check's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from enrollsync import steps
from enrollsync.onboard.look import look_at
from enrollsync.onboard.write import district_id_of, path_of, write_district
from enrollsync.run.step import VALIDATE
from enrollsync.run.workspace import Workspace
from enrollsync.words.codes import CODES
from enrollsync.words.errors import EnrollSyncError

_WORTH_TELLING = ("ID-SSN", "ID-OPAQUE", "ID-WITHHELD", "ID-MISSING", "ID-CHARSET")
"""Findings that call for a decision before the first night."""


@dataclass(frozen=True)
class Begun:
    """What `init` did."""

    district: str
    """Its identifier."""
    file: str
    """The district file that was written."""
    format: str
    columns: dict[str, str]
    """Headers that are read as others."""
    encoding: str
    identifiers: dict[str, str]
    rows: int
    """Lines of the delivery."""
    is_large: bool
    """Whether that is so many that its tasks are to be kept from small workers."""
    findings: dict[str, int]
    """What a check of the delivery found."""
    left: tuple[str, ...]
    """What a person has to see to: one sentence each."""

    def lines(self) -> Iterator[str]:
        """The same for a person."""
        yield f"{self.file}: written, for a {self.format} delivery"
        for theirs, ours in self.columns.items():
            yield f"  {theirs} is read as {ours}; correct `source.columns` if it is something else"
        for kind, column in self.identifiers.items():
            yield f"  {column} identifies {kind}: the format's own column holds numbers that say nothing"
        if self.is_large:
            yield f"  size: large, because the delivery has {self.rows:,} rows"
        if self.findings:
            yield f"  a check found {', '.join(f'{code} {count:,}' for code, count in self.findings.items())}"
        for sentence in self.left:
            yield f"left to you: {sentence}"
        yield f"next: enrollsync plan --district {self.district}"


def begin(place: Path, *, district_id: str | None, name: str | None, ask: Callable[..., str] | None) -> Begun:
    """Look at the delivery, write the district's file and check the delivery with it.

    `ask(question, default=...)` answers what no delivery says; None where nobody is there, and then it is left to do.
    Raises Refused where nobody can tell what the delivery is, ConfigurationError where the file cannot be written.
    """
    chosen = district_id or district_id_of(place)
    if ask and not district_id:
        chosen = ask("The district's identifier, of letters, digits, - and _", default=chosen)
    path_of(chosen)
    look = look_at(place)
    left = list(look.left)
    called = name or chosen
    timezone, schedule = "UTC", None
    if ask:
        called = name or ask("What people call it", default=chosen)
        timezone = ask("Its time zone", default="America/New_York")
        schedule = ask("When it runs, as a cron expression (- for only by hand)", default="0 2 * * *")
        schedule = None if schedule.strip() == "-" else schedule
    else:
        left += [] if name else [f"`name` is {chosen}; write what people call the district"]
        left.append("`timezone` is UTC and there is no `schedule`; write when its nights are, and where")
    if place.suffix.lower() == ".zip":
        left.append("`source.path` is this one zip; name the folder into which each night brings another")
    file = write_district(place, look, district_id=chosen, name=called, timezone=timezone, schedule=schedule)
    findings, told = _checked(file) if look.is_complete else ({}, [])
    return Begun(
        chosen, str(file), look.declared.title, look.renames, look.encoding, look.identifiers, look.rows,
        look.is_large, findings, (*left, *told),
    )  # fmt: skip


def _checked(file: Path) -> tuple[dict[str, int], list[str]]:
    """The findings of a check, and what of them calls for a decision."""
    root = ""
    try:
        started = datetime.now(UTC)
        root = steps.start(str(file), run_id=f"init-{started:%Y%m%dT%H%M%S}", as_of=started, dry_run=True)
        steps.night(root, last=VALIDATE.name)
    except EnrollSyncError as error:
        return {}, [f"the delivery cannot be used as it is: {error}"]
    place = Workspace(Path(root))
    found = place.read().findings
    told = [
        f"{found[code]:,} times {code}: {CODES[code].title}. {CODES[code].remedy}"
        for code in _WORTH_TELLING
        if code in found
    ]
    return found, [*told, *_without_email(place)]


def _without_email(place: Workspace) -> list[str]:
    """An email tells that two rows are one person; without, names and birth dates alone do."""
    users = pq.read_table(place.canonical_table("users"), columns=["email"])["email"]
    lacking = users.null_count
    if len(users) == 0 or lacking / len(users) < _MANY:
        return []
    said = f"{lacking:,} of {len(users):,} rows of people have no email"
    return [
        f"{said}: a new identifier of theirs is recognised by birth date or secondary ID alone, where they have one"
    ]


_MANY = 0.1
"""The share of people without an email that is worth telling."""
