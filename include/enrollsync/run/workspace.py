"""Where a run keeps its files, and what it knows of itself between two steps.

A workspace may be deleted at any time after its run; whatever must be remembered stands in the database.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from enrollsync.formats import Mode
from enrollsync.run.program import program
from enrollsync.settings import District
from enrollsync.words import private
from enrollsync.words.blanks import trimmed
from enrollsync.words.codes import CODES, Severity
from enrollsync.words.errors import ConfigurationError, DamagedRun, EnrollSyncError
from enrollsync.words.printable import printable

Answer = Literal["approve", "without_removals", "use_proposal", "reject"]
"""What a person may say to a plan that waits."""
OPERATIONS = ("create", "update", "reidentify", "reactivate", "deactivate")
COUNTED = (*OPERATIONS, "unchanged", "held", "rejected", "collapsed")
"""What a run counts of each entity: the operations on records, then the rows that led to none."""
Printable = Annotated[str, AfterValidator(printable)]


def error_file_name(name: str) -> str:
    """What the copy of a source file's rejected lines is called: `users-errors.csv`."""
    return f"{Path(name).stem}-errors.csv"


class Notice(BaseModel):
    """A finding about a file or about the plan as a whole: it stands on no row."""

    code: str
    severity: Severity
    message: Printable
    file: Printable | None = None
    line: int | None = None

    @classmethod
    def of(cls, code: str, message: str, *, file: str | None = None, line: int | None = None) -> Notice:
        """A notice with the severity that the table of findings gives its code."""
        return cls(code=code, severity=CODES[code].severity, message=message, file=file, line=line)


class SourceFile(BaseModel):
    """One file of the batch as it was read."""

    name: str
    """The format's name for it: `users.csv`."""
    entity: str
    """The principal entity, under which its malformed lines count."""
    header: list[str]
    rows: int
    """Records that could be read; malformed lines not included."""
    malformed: int
    blind: bool = False
    """Whether a malformed line may have its identifier where a secret could stand, so that nobody may look."""
    secret_columns: list[str] = Field(default_factory=list)
    """Columns (as the file spells them) that must never be copied anywhere."""


class Edit(BaseModel):
    """What a person changes of one record on its profile page."""

    entity: str
    key: int
    changes: dict[str, str | None]
    """Column of the base table -> new value as it was typed; the identifier or a secondary ID."""

    @property
    def values(self) -> dict[str, str | None]:
        """The same without blanks around the values, as they are stored; None where a value is taken away."""
        return {name: trimmed(typed) for name, typed in self.changes.items()}

    @property
    def looked_for(self) -> set[str]:
        """Those that somebody may have already; no database has a text with a NUL."""
        return {value for value in self.values.values() if value and "\0" not in value}


class Merge(BaseModel):
    """Two users who are one person."""

    gone: int
    """Internal key of the record that becomes inactive."""
    kept: int


class Settle(BaseModel):
    """What a person says of a row that waited in an earlier run: whose it is."""

    run_id: str
    """The run in which it waited."""
    format: str
    entity: str
    source_key: str
    record: int | None = None
    """Internal key of the record that it is; None: of none of those that it may be, but of somebody new."""
    alone: bool = False
    """Whether other rows say the same source key and are somebody else's."""
    file: str
    line: int
    """Where it stood: the first of its lines."""


class RunManifest(BaseModel):
    """What the steps of one run tell each other: `run.json` in the workspace."""

    model_config = ConfigDict(extra="forbid")

    run_id: str
    program: str | None = Field(default_factory=program)
    """Which one began the run; None: one that did not say so yet. No other one goes on with it."""
    district: str
    """Name or path of the district file, as given."""
    as_of: datetime
    """The run's idea of now, with a time zone."""
    source: str | None = None
    """The folder or zip as given by hand; None: the district's own."""
    dry_run: bool = False
    """Whether the run only looks: the database is neither written nor created."""
    picked: bool = False
    """Whether `source` was picked in Airflow's form: it is then judged by its age like one that was found."""
    release: bool = False
    """Whether a person lets recycled rows through (rule 10)."""
    adds_only: bool = False
    """Whether this run deactivates nothing."""
    lets_go: bool = False
    """Whether a person lets go whom another primary source left without a row (`plan/reconcile/switching.py`)."""
    overrides: dict[Literal["deactivate_percent", "update_percent"], Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict
    )
    """What a person set for this run: `deactivate_percent`, `update_percent`, in place of every other limit."""
    override_reason: str | None = None
    """Why, in that person's words."""
    proposal_of: str | None = None
    """The run whose proposed identifier changes somebody has taken: if this one proposes the same, they are taken."""
    taken_by: str | None = None
    """Who has taken this run's proposed identifier changes as delivered."""
    undoes: str | None = None
    """The run that this run takes back; None for a run that reads a delivery."""
    edit: Edit | None = None
    """What a person changes; such a run reads no delivery."""
    merge: Merge | None = None
    """Whom a person merges; such a run reads no delivery."""
    settle: Settle | None = None
    """The row that a person settles; such a run reads that row alone, out of the earlier run's files."""
    keep_later: bool = False
    """Whether an undo leaves alone what later runs changed."""
    format: str | None = None
    """The recognised format: `batch_upload`, `clever`."""
    mode: Mode = "delta"
    """What absence means: `snapshot`, a record that is missing goes, be it of some entities; `delta`, it stays."""
    modes: dict[str, Mode] = Field(default_factory=dict)
    """Entity -> what absence means for it, where that is something else; see `mode_of`."""
    batch_hash: str | None = None
    """The batch's identity, see `Delivery.digest`."""
    delivered_at: datetime | None = None
    """When the newest of its files arrived, in UTC."""
    files: list[SourceFile] = Field(default_factory=list)
    supplied: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """Entity -> canonical column -> files that have it; a column that no file has keeps what the database has."""
    notices: list[Notice] = Field(default_factory=list)
    """Findings on files, and on the plan where it does not wait for them."""
    outcome: str | None = None
    """How far it came: a key of `report.wording.OUTCOMES`; None until a step says so."""
    plan_id: str | None = None
    """See `plan.plan_id`; None before there is a plan."""
    holds: list[Notice] = Field(default_factory=list)
    """Why the whole plan waits for a person."""
    counts: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Entity -> one of `COUNTED` -> how many."""
    checked: dict[str, dict[str, int]] = Field(default_factory=dict)
    """The same as the checks left them; each plan counts on from there."""
    loadable: dict[str, int] = Field(default_factory=dict)
    """Entity -> records that may load, whether the database has them or not."""
    findings: dict[str, int] = Field(default_factory=dict)
    """Code -> how many, on rows and on files."""
    found_in_schools: dict[str, dict[str, int]] | None = None
    """Code -> key of an organization -> how many findings on its rows; None before there is a plan of a delivery."""
    answer: Answer | None = None
    """What a person said to the plan that waited; None where nobody was asked, or nobody answered."""
    approved_by: str | None = None
    """Who answered, or let recycled rows through."""
    comment: Printable | None = None
    """Why, in that person's words."""
    answer_by: datetime | None = None
    """Until when a plan that waits in Airflow may be answered."""
    error: str | None = None
    """One line for a person: why the run was refused, failed, was rejected or given up, or what an answer left open."""
    conflicts: list[dict[str, Any]] = Field(default_factory=list)
    """What keeps an undo from being done; see `errors.UndoConflict`."""
    fingerprint: str | None = None
    """See `shortcut.py`."""
    checked_at: datetime | None = None
    """When the database was last compared row by row."""
    state_version: int | None = None
    """The database's state that the run found."""
    state_run: str | None = None
    """The run that led to it: after a back-up was restored, another one may lead to a state of the same number."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Step -> wall time."""

    @property
    def by_hand(self) -> bool:
        """Whether a person changes a single record, which tells nothing of nights."""
        return bool(self.edit or self.settle or self.merge)

    def mode_of(self, entity: str) -> Mode:
        """What it means for a record of this entity that no file has it."""
        return self.modes.get(entity, self.mode)

    @property
    def asks_roster(self) -> bool:
        """Whether rows may refer to records that the delivery need not have, as those do that ask for a removal."""
        removing = any("action" in columns for columns in self.supplied.values())
        return removing or "delta" in {self.mode, *self.modes.values()}

    def may_say(self, entity: str, column: str) -> bool:
        """Whether any file has the canonical column for its records."""
        return column in self.supplied.get(entity, {})

    @property
    def told_counts(self) -> dict[str, dict[str, int]]:
        """The counts as a person or a program is told them: a check counts as creations what would load.

        It asks no database, and one that is not there counts as empty.
        """
        if self.outcome != "checked":
            return self.counts
        return {entity: {**row, "create": self.loadable.get(entity, 0)} for entity, row in self.counts.items()}


class Workspace:
    """The folder of one run; every path within it has a name here."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> Workspace:
        """Make the folder, readable by its owner alone: it holds children's records."""
        private.make_folder(self.root)
        for part in (self.source, self.canonical, self.accepted, self.state, self.plan, self.quarantine):
            part.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def source(self) -> Path:
        """The run's own copy of the delivery."""
        return self.root / "source"

    def source_table(self, file: str) -> Path:
        """What was read of one source file, as `ingest.read.read_file` writes it: all that later steps know of it."""
        return self.source / f"{file}.parquet"

    @property
    def malformed(self) -> Path:
        """Lines that are no CSV records: `file, line, last_line, reason, raw`."""
        return self.source / "malformed.parquet"

    @property
    def batch(self) -> Path:
        """An archive's files, while they are read."""
        return self.root / "batch"

    @property
    def canonical(self) -> Path:
        """`<entity>.parquet`: every distinct row as it was delivered."""
        return self.root / "canonical"

    def canonical_table(self, entity: str) -> Path:
        """The canonical table of one entity."""
        return self.canonical / f"{entity}.parquet"

    def accepted_table(self, entity: str) -> Path:
        """The records of one entity that were made out of rows set aside; `accept.records` reads all that may load."""
        return self.accepted / f"{entity}.parquet"

    def aside_table(self, entity: str) -> Path:
        """`row_id` of the canonical rows of one entity that do not load as they are."""
        return self.accepted / f"{entity}-aside.parquet"

    def plan_table(self, entity: str) -> Path:
        """The rows of one base table that the plan writes."""
        return self.plan / f"{entity}.parquet"

    @property
    def accepted(self) -> Path:
        """What may load, as far as it differs from the canonical tables."""
        return self.root / "accepted"

    @property
    def state(self) -> Path:
        """`<entity>.parquet`: the database as it was when the plan was made."""
        return self.root / "state"

    @property
    def plan(self) -> Path:
        """`plan.json`, and `<entity>.parquet`: the operations of one base table with the rows to write."""
        return self.root / "plan"

    @property
    def without_removals(self) -> Path:
        """The same files of the plan less its removals, where that was applied."""
        return self.plan / "without_removals"

    def written(self, planned: Path) -> Path:
        """The file that says what was written, or would be, in place of this one of the plan's."""
        left = self.without_removals / planned.name
        return left if left.is_file() else planned

    @property
    def waiting(self) -> Path:
        """Rows that wait for a person to say whose they are: `entity, source_key, code, record_key, file, line`."""
        return self.plan / "waiting.parquet"

    @property
    def organizations_summary(self) -> Path:
        """Per organization: records created, updated, deactivated, unchanged."""
        return self.plan / "organizations_summary.parquet"

    @property
    def school_findings(self) -> Path:
        """What is wrong with rows of each organization, and whom it concerns (see `reconcile.schools`)."""
        return self.plan / "school_findings.parquet"

    @property
    def quarantine(self) -> Path:
        """`users-errors.csv` and the like: rejected lines, whole."""
        return self.root / "quarantine"

    @property
    def proposed_id_changes(self) -> Path:
        """Pairs of old and new identifiers for a person to look at, where many records seem to have new ones."""
        return self.root / "id_changes.csv"

    @property
    def switch_list(self) -> Path:
        """Which row takes over which record of the former primary source, and which records stay without one."""
        return self.root / "switch.csv"

    @property
    def taken_id_changes(self) -> Path:
        """The proposal that a person took as delivered."""
        return self.root / "id_changes-taken.csv"

    @property
    def findings(self) -> Path:
        """All findings on rows (columns: see `findings.py`)."""
        return self.root / "findings.parquet"

    @property
    def checks(self) -> Path:
        """Every check that ran, with how many rows it looked at and how many failed it (see `validate.collect`)."""
        return self.root / "checks.json"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' static site, without values, where the district asks for it."""
        return self.root / "data_docs"

    def read(self) -> RunManifest:
        """The manifest as the last step left it.

        Raises ConfigurationError when the run's files are gone, and DamagedRun when it is no manifest.
        """
        path = self.root / "run.json"
        told: dict[str, Any] = {}
        try:
            told = {"program": None, **json.loads(path.read_text())}
            return RunManifest.model_validate(told)
        except FileNotFoundError:
            raise ConfigurationError(f"run {self.root.name}: its files are gone; start from its first step") from None
        except (TypeError, ValueError):
            self.require_program(told.get("program", program()))
            raise DamagedRun(f"run {self.root.name}: its file {path} is damaged; start a new run") from None

    def require_program(self, began: str | None) -> None:
        """Raise ConfigurationError where another program `began` the run: what it left may mean something else now."""
        if began != program():
            said = f"run {self.root.name}: {began or 'an older EnrollSync'} began it and this is {program()}"
            raise ConfigurationError(f"{said}, so nothing was written; start a new run, which plans anew")

    def write(self, manifest: RunManifest) -> None:
        """Replace the manifest in one step, so that a killed process leaves the old or the new one.

        Raises EnrollSyncError when there is no room for it; the old one is kept.
        """
        half = self.root / "run.json.part"
        try:
            half.write_text(manifest.model_dump_json(indent=1))
            half.replace(self.root / "run.json")
        except OSError as error:
            said = f"run {self.root.name}: {self.root / 'run.json'} cannot be written: {error.strerror}"
            raise EnrollSyncError(f"{said}; make room, or let this user write there, and run again") from None

    def read_settings(self) -> District:
        """The district's settings as they were when the run began; raises as `read` does."""
        path = self.root / "settings.json"
        try:
            return District.model_validate_json(path.read_text())
        except FileNotFoundError:
            said = "an older EnrollSync began it, or its settings.json is gone"
            raise ConfigurationError(f"run {self.root.name}: {said}; start a new run") from None
        except ValueError:
            self.require_program(self.read().program)
            raise DamagedRun(f"run {self.root.name}: its file {path} is damaged; start a new run") from None

    def write_settings(self, settings: District) -> None:
        """Keep the settings for the steps to come."""
        (self.root / "settings.json").write_text(settings.model_dump_json(indent=1, by_alias=True))

    def update(self, **changes: Any) -> RunManifest:
        """Read, change, write."""
        manifest = self.read().model_copy(update=changes)
        self.write(manifest)
        return manifest
