"""Forgetting a person: because a family asks, what the roster knows of somebody leaves it, and the files it keeps.

`person` finds who is meant and what is known of them, `roster` takes it out of the database, `files` out of runs and
uploads. That there was a record stays: its internal key, the operations on it and the counts of runs, without a value.
Marks stay too, so that a delivery which still has the person is noticed (`database/forgotten.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from enrollsync.database import RunRecord, Store
from enrollsync.database.forgotten import forgotten_as
from enrollsync.database.schema import FORGOT, OUTCOME_FORGOTTEN
from enrollsync.forget.files import KeptFiles, find_files
from enrollsync.forget.person import Person, find_person, values_of, without_a_record
from enrollsync.forget.roster import FINDINGS_OF, count_active, count_rows, take_out
from enrollsync.report.explain import spellings
from enrollsync.run.workspace import COUNTED
from enrollsync.settings import District
from enrollsync.words.canonical import ENTITIES, USERS
from enrollsync.words.errors import ConfigurationError, DatabaseError
from enrollsync.words.masking import masked


@dataclass(frozen=True)
class Looked:
    """What there is of a person."""

    person: Person
    places: dict[str, int]
    """Where something is taken out -> how many rows, folders or files."""
    active: int
    """Records that the views show as active."""
    state_version: int
    """The state of the roster that was looked at."""
    files: KeptFiles
    again: bool
    """Whether the roster has forgotten this person before: then there can only be files that came later."""
    untouched: str
    """What EnrollSync does not reach, for a person."""

    def lines(self) -> list[str]:
        """What a person is shown, without a value of whom it is about."""
        before = "was forgotten before; what was kept since:" if self.again else "would be forgotten:"
        rows = [f"  {number:>9,}  {place}" for place, number in self.places.items()]
        return [f"user {self.called} {before}", *rows, self.untouched]

    @property
    def called(self) -> str:
        """The person by the internal keys of their records."""
        return " and ".join(map(str, self.person.keys)) or "without a record"


def look(settings: District, store: Store, user_id: str, key: int | None = None) -> Looked:
    """Find who goes or went by `user_id` (an identifier or a source key) and what is kept of them; only reads.

    `key`: whose record of several. Raises ConfigurationError where it is nobody's, or several people's.
    """
    district_id = settings.district_id
    version = store.version(district_id)
    with store.asking() as read:
        found = find_person(read, district_id, user_id, key)
        before = [] if found else forgotten_as(read, district_id, spellings(USERS, {user_id}))
        keys = tuple(sorted({row["user_key"] for row in before if row["user_key"]}))
        if found:
            person = values_of(read, district_id, found)
        else:
            person = Person(keys, frozenset({user_id})) if before else without_a_record(user_id)
        places, active = count_rows(read, district_id, person), count_active(read, district_id, person)
    if not (found or before or places[FINDINGS_OF]):
        raise ConfigurationError(
            f"user {masked(user_id)}: district {district_id} has nobody of that identifier or source key, now or "
            "earlier, and no run remembers a row with it; `enrollsync explain user` looks people up likewise"
        )
    files = find_files(settings, person)
    if before:
        places = {}
    return Looked(
        person, places | files.counts(), active, version, files, again=bool(before), untouched=_untouched(settings)
    )


def _untouched(settings: District) -> str:
    source = settings.source
    place = f"{source.path or 'the API'}{f' ({source.connection})' if source.connection else ''}"
    return (
        f"Not touched: the district's own deliveries ({place}), where the person has to be taken out at the source; "
        "back-ups of the database; files that somebody downloaded or exported."
    )


def forget(
    settings: District, store: Store, looked: Looked, *, run_id: str, person: str, started: datetime, ended: datetime
) -> list[str]:
    """Take out what `look` has found, by a run of its own; `person` says so. Returns what is left to do by hand.

    Files go within the transaction: whoever is interrupted finds the person again. Raises StalePlan where somebody has
    written since, and DatabaseError; then the roster is as it was.
    """
    counts = {entity.name: dict.fromkeys(COUNTED, 0) for entity in ENTITIES}
    counts[USERS.name]["deactivate"] = looked.active
    run = RunRecord(
        run_id=run_id, district_id=settings.district_id, batch_hash=None, outcome=OUTCOME_FORGOTTEN, plan_id=None,
        started_at=started, ended_at=ended, approved_by=person, answer="approve", counts=counts,
        message=FORGOT + looked.called, state_version=looked.state_version,
    )  # fmt: skip
    with store.writing(settings.district_id, run_id) as session:
        take_out(session, run, looked.person)
        looked.files.remove()
    left = list(looked.files.left())
    try:
        if not store.wipe():
            left.append("the tables belong to another login: let it run VACUUM (ANALYZE), which frees their old rows")
    except DatabaseError as error:
        left.append(f"{error}; where the values stood is free now, and overwritten once the database is vacuumed")
    return left
