"""The table of findings: what each code means, how bad it is in which source, and what a person does about it.

Everything that mentions a code derives from here: the suites' `meta.code`, the report, `docs/findings.md`.
No logic that looks at rows belongs here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is: critical does not load, warning loads, info is advice."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Scope(StrEnum):
    """What a critical finding keeps from loading, or a warning takes away."""

    BATCH = "batch"
    """Nothing of the delivery loads."""
    LINE = "line"
    """The line as a whole does not load."""
    RECORD = "record"
    """Only the record of the finding's entity does not load; the rest of its line does."""
    VALUE = "value"
    """The record loads without the offending value; the database keeps the one it has."""
    CLEARED = "cleared"
    """The record loads and the value is stored empty."""
    WAITS = "waits"
    """Nothing is wrong with the record; it loads as soon as another one does."""
    NONE = "none"
    """Everything loads as given."""
    PLAN = "plan"
    """The whole plan waits for a person."""


CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO


@dataclass(frozen=True)
class Code:
    """One kind of finding."""

    code: str
    title: str
    """What it says, in a few words, for a heading."""
    why: str
    """Why it matters to a district."""
    remedy: str
    """What to do about it."""
    rule: str
    """The rule that it enforces, as numbered in `docs/rules.md`."""
    severity: Severity
    scope: Scope
    per_source: dict[str, Severity] = field(default_factory=dict)
    """Source -> severity where it differs from `severity`."""
    at_school: str = ""
    """What somebody who keeps a school's records does about it, where that is less than `remedy` says."""

    @property
    def remedy_at_school(self) -> str:
        """What to do about it without access to the district's settings and runs."""
        return self.at_school or self.remedy

    def severity_in(self, source: str) -> Severity:
        """The severity when rows come from `source` (`batch_upload`, `clever`, ...)."""
        return self.per_source.get(source, self.severity)


DOUBLE = "ID-DUPLICATE"
"""One identifier on rows of two people."""
NO_ROLE = "PLAN-NO-ROLE"
"""A row of somebody new in a delta that leaves roles to the roster."""
FORGOTTEN = "PLAN-FORGOTTEN"
"""A row of somebody who was forgotten (`enrollsync forget`)."""
GUARD_FORGOTTEN = "GUARD-FORGOTTEN"
"""A delivery that has such rows."""

_TABLE = (
    Code(
        "FILE-MISSING", "A required file is missing",
        "Loading a part of a delivery would look as if the rest had been removed.",
        "Deliver the whole set again, the named file included.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-UNSUPPORTED", "The format cannot be read",
        "The files are of a known format that this version has no reader for.",
        "Deliver one of the formats that the message names.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-HEADER", "A header cannot be used",
        "A column that is missing, misspelt, doubled or unknown would be read as absent or as something else.",
        "Correct the header line as named, or add the district's own spelling to `source.columns`.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-ENCODING", "The file is not readable text",
        "Bytes that are no text in the expected encoding would turn names into other names.",
        "Save the file as CSV in UTF-8, or name its encoding in `source.encoding`.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-EMPTY", "A required file has no rows",
        "A first load without rows of a kind is an export that failed.",
        "Export again and look at the file before delivering it.",
        "section 6, header-only files", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-UNSAFE", "The delivery is unsafe",
        "A file is a link, two would be one, or an archive unpacks outside of its folder or to far more than a roster.",
        "Deliver the CSV files themselves, or a plain zip of them.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-INCOMPLETE", "The delivery is not complete",
        "A file that is cut or still being written, or a source that changed while it was read, lacks records that the "
        "district still has.",
        "Wait for the upload to end, or deliver the file again; of an API, run again when its own sync has ended.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-UNREACHABLE", "The source does not answer",
        "The roster stays as it was until the source can be read whole.",
        "Run again later, as Airflow does by itself; when it stays so, look whether the connection's host is right.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-DENIED", "The source does not let us in",
        "A password, key or token is missing a right, has expired, or is not that of one district.",
        "Put the district's present one into the Airflow connection that `source.connection` names.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-HOST", "The server is not known by its key",
        "Somebody who stands between could take the password and deliver another district's children.",
        "Ask whoever runs the server for its host key, and put that into the connection's extra as `host_key`.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-ANSWER", "The source answers something else",
        "What is none of the answers that the source's documentation describes says nothing about the district.",
        "Look whether the connection's host is right and the token a district's; else ask whoever runs the source.",
        "section 6, file level", CRITICAL, Scope.BATCH,
    ),
    Code(
        "FILE-CORRECTED", "An error file came back",
        "The rejected lines of a file, corrected, are read in the place of that file.",
        "Nothing to do.",
        "section 6, the run's own copy", INFO, Scope.NONE,
    ),
    Code(
        "FILE-IGNORED", "A file, or people of some role, are not read",
        "It is no file of this format, its columns are not public, or a roster does not have such people.",
        "Nothing to do.",
        "formats, Batch Upload", INFO, Scope.NONE,
    ),
    Code(
        "FILE-LISTING", "The manifest does not say what a file is",
        "Whether a file is the whole or only what changed decides whether somebody whom it lacks goes.",
        "Say of each file in the manifest whether it is `bulk`, `delta` or `absent`.",
        "formats, OneRoster", WARNING, Scope.NONE,
    ),
    Code(
        "FILE-NO-LINE-END", "The last line has no line end",
        "A file that was cut looks like this, its last value included; many programs just write no last line end.",
        "Nothing to do where it is so every night; where a plan is held, compare the file with its source.",
        "section 6, file level", INFO, Scope.NONE,
    ),
    Code(
        "FILE-OVERDUE", "The newest delivery is older than it should be",
        "The roster stays as it was while the district changes: deliveries may have stopped.",
        "Ask whoever sends the files; `source.due_hours` says how old a delivery may be.",
        "section 6, file level", WARNING, Scope.NONE,
    ),
    Code(
        "ROW-MALFORMED", "The line is not a CSV record",
        "With too many or too few fields, or with control characters, nobody can tell which value belongs where.",
        "Correct the line: count its commas, look for a stray quotation mark, remove control characters.",
        "section 6, row level", CRITICAL, Scope.LINE,
    ),
    Code(
        "ROW-BLANK", "Lines without values were passed over",
        "Spreadsheets write commas for rows that somebody emptied; nothing is lost with them.",
        "Nothing to do; who wants them gone deletes the rows in the spreadsheet.",
        "section 6, row level", INFO, Scope.NONE,
    ),
    Code(
        "ROW-PASSED", "Lines of people or things that a roster does not have were passed over",
        "A source knows families, or helpers in a class; a roster has students, teachers and staff.",
        "Nothing to do.",
        "formats, OneRoster", INFO, Scope.NONE,
    ),
    Code(
        "ROW-SKIPPED", "Lines were left out by the district's own rule",
        "`source.skip` names them; what they say counts as absent, which in a snapshot means that it goes.",
        "Nothing to do where the rule is right; otherwise correct `source.skip` in the district's file.",
        "district file, `source.skip`", INFO, Scope.NONE,
    ),
    Code(
        "ROW-ALL-SKIPPED", "The district's own rule leaves out every line of a file",
        "A rule that is true of everybody is seldom meant, or the column says something else since.",
        "Correct `source.skip` in the district's file, or what the column holds in the export.",
        "district file, `source.skip`", WARNING, Scope.NONE,
    ),
    Code(
        "ROW-RULE-UNUSED", "A rule of the district's file changes nothing",
        "No line has what the rule names: the export has changed, the rule is misspelt, or it is not needed tonight.",
        "Compare the rule with the column in the export; remove it when it is not needed any more.",
        "district file, `source.values` and `source.skip`", INFO, Scope.NONE,
    ),
    Code(
        "ROW-WAITS", "The record is set aside until another one loads",
        "It belongs to a record that does not load, and would hang in the air without it.",
        "Nothing with this line: correct or decide what it waits for, and it loads with the next delivery.",
        "section 6, present but invalid", INFO, Scope.WAITS,
    ),
    Code(
        "ROW-STAFF-ONLY", "Batch Upload may bring staff only here",
        "With another primary source, students by file would contradict what that source says.",
        "Remove the row, or correct the student in the primary source.",
        "section 6, third-party primary source", CRITICAL, Scope.LINE,
    ),
    Code(
        "ROW-STAFF-CLASS", "Batch Upload may bring no classes here",
        "With another primary source, a class by file would stand beside the ones that source has; the person loads.",
        "Correct the class in the primary source; a row of the role `staff` needs no class.",
        "section 6, third-party primary source", CRITICAL, Scope.RECORD,
    ),
    Code(
        "ID-MISSING", "The identifier is missing",
        "Without an identifier nobody can say whose record this is.",
        "Fill in the identifier.",
        "rules 3 and 4", CRITICAL, Scope.LINE,
    ),
    Code(
        "ID-CHARSET", "The identifier has characters that are not allowed",
        "Programs that exchange rosters reject or change such identifiers.",
        "Use letters and digits only, or set `identifiers.charset: extended` for this district.",
        "rule 2", CRITICAL, Scope.LINE,
        at_school="Use letters and digits only.",
    ),
    Code(
        "ID-DUPLICATE", "One identifier stands for different people",
        "Choosing one of them would give a child somebody else's record.",
        "Give each person an identifier of their own.",
        "rule 6", CRITICAL, Scope.LINE,
    ),
    Code(
        "ID-CASE", "Identifiers differ in upper and lower case only",
        "They are two identifiers to every program, but people confuse them.",
        "Consider giving one of them another identifier.",
        "rule 1", INFO, Scope.NONE,
    ),
    Code(
        "ID-SSN", "The identifier looks like a social security number",
        "A social security number must not travel as an identifier.",
        "Use a number of the district's own; if it is one, set `identifiers.ssn: off`.",
        "rule 5", WARNING, Scope.LINE,
        at_school="Use a number of the district's own, not a social security number.",
    ),
    Code(
        "ID-WITHHELD", "An identifier that two people share is withheld from both",
        "The people load under the source's own keys, but cannot be found by this identifier.",
        "Give each person an identifier of their own in the source.",
        "rule 4", WARNING, Scope.CLEARED,
    ),
    Code(
        "ID-LEADING-ZERO", "The identifier lost its leading zeros",
        "Spreadsheets drop them; the row would make a second record of somebody whom the roster has.",
        "Format the column as text and export again; if it is somebody else, give them another identifier.",
        "rule 2", WARNING, Scope.RECORD,
    ),
    Code(
        "ID-OPAQUE", "The identifier of the class says nothing to people",
        "Teachers and helpers find a class by an identifier that they can remember.",
        "Make it of course, period and teacher, like `ALG1P3LEE`.",
        "rule 8", INFO, Scope.NONE,
    ),
    Code(
        "SEC-DUPLICATE", "A secondary ID stands for different people",
        "It is stored for none of them, because nobody can say whose it is.",
        "Correct the secondary ID.",
        "rule 7", WARNING, Scope.CLEARED,
    ),
    Code(
        "REF-UNKNOWN", "The row refers to something that is not there",
        "The other record is neither in the delivery nor in the roster.",
        "Add the missing record, or correct the reference.",
        "section 6, references", CRITICAL, Scope.RECORD,
    ),
    Code(
        "VAL-MISSING", "A required value is missing",
        "A person without a name, or without a role, cannot be shown to a teacher.",
        "Fill in the value.",
        "formats, required columns", CRITICAL, Scope.LINE,
    ),
    Code(
        "VAL-ACTION", "The action or role is not known",
        "Guessing what a row asks for could remove or misplace a record.",
        "Use one of the values that the format knows.",
        "formats, required columns", CRITICAL, Scope.LINE,
    ),
    Code(
        "VAL-INVALID", "A value cannot be understood",
        "The record loads without it; what the roster has stays.",
        "Correct the value.",
        "rule 7, section 6", WARNING, Scope.VALUE,
    ),
    Code(
        "VAL-EMAIL", "The email address has an odd shape",
        "It is stored as given, but may not work for signing in.",
        "Correct the address.",
        "section 6, email", WARNING, Scope.NONE,
    ),
    Code(
        "VAL-EMAIL-DUPLICATE", "People share an email address",
        "It is stored as given, but cannot tell these people apart.",
        "Give each person an address of their own.",
        "section 6, email", WARNING, Scope.NONE,
    ),
    Code(
        "VAL-CONFLICT", "Rows of one record disagree",
        "The value that most rows give is taken.",
        "Make the rows agree.",
        "rule 6", WARNING, Scope.NONE,
    ),
    Code(
        "VAL-CLASS-SIZE", "The class has very many students",
        "At most 80 students are recommended; more may be several classes under one identifier.",
        "Look whether it is one class; if not, give each class an identifier of its own.",
        "formats, Batch Upload", INFO, Scope.NONE,
    ),
    Code(
        "VAL-TRIMMED", "Blanks around a value were removed",
        "Blanks make equal identifiers look different.",
        "Remove the blanks in the source.",
        "rule 2", INFO, Scope.NONE,
    ),
    Code(
        "PLAN-AMBIGUOUS", "It might be a changed identifier",
        "The row resembles a record that has another identifier; guessing could split or merge people.",
        "Say that it is the same record in an `id_changes.csv` (`entity,old_id,new_id`), or send both rows.",
        "rule 9", WARNING, Scope.RECORD,
        at_school="Tell the district whether it is the same record under another identifier.",
    ),
    Code(
        "PLAN-RECYCLED", "The identifier now stands for somebody else",
        "Loading the row would give one person's history to another.",
        "Give the new person an identifier of their own, or let the row through with `sync --release`.",
        "rule 10", WARNING, Scope.RECORD,
        at_school="Give the new person an identifier of their own.",
    ),
    Code(
        "PLAN-REIDENTIFY-TAKEN", "The new identifier is kept by somebody else",
        "Two people cannot have one identifier; nobody changes.",
        "Choose a free identifier.",
        "rule 9", WARNING, Scope.RECORD,
    ),
    Code(
        NO_ROLE, "Somebody new has no role",
        "A delivery of changes may leave out the role of somebody whom the roster has; of nobody new it is known.",
        "Deliver the person's primary role too.",
        "formats, OneRoster", WARNING, Scope.RECORD,
    ),
    Code(
        FORGOTTEN, "Somebody who was forgotten is there again",
        "The person's values were taken out because somebody asked for that; a run would bring them back.",
        "Take the person out at the source; who may come back, or is somebody else, loads with `sync --release`.",
        "rule 10", WARNING, Scope.RECORD,
        at_school="Take the person out; or tell the district that it is somebody else.",
    ),
    Code(
        "PLAN-EDIT-KEPT", "The row says what a person has changed since",
        "The identifier was changed on its profile page, and the district keeps such changes (`edits: stick`).",
        "Change it in the source too; or set `edits: yield`, and the delivery wins.",
        "rule 9", INFO, Scope.NONE,
    ),
    Code(
        "PLAN-MERGED", "The row is of somebody who was merged into another person",
        "Two records were found to be one person; what the row says is read as said of the record that was kept.",
        "Take the second identifier out of the source; or undo the merge if they are two people after all.",
        "rule 9", INFO, Scope.NONE,
    ),
    Code(
        "PLAN-TERMS-ENDED", "All terms have ended",
        "Classes of a term that has ended are left as they are, so that a file of last term hides what is missing.",
        "Nothing between two school years; otherwise ask for the classes of the present term.",
        "section 6, snapshot", INFO, Scope.NONE,
    ),
    Code(
        "GUARD-DEACTIVATE", "Unusually many records would be deactivated",
        "A truncated export looks exactly like this.",
        "Look at the report; approve if the removals are real.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-UPDATE", "Unusually many records would be changed",
        "Shifted columns or changed settings in the source look like this.",
        "Look at the report; approve if the changes are real.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-FIELD", "A field would change for unusually many people",
        "Names and birth dates hardly ever change; a shifted column or the wrong file looks like this.",
        "Look at the plan; approve if the values are right, or give the field another limit in `thresholds.fields`.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-REKEYED", "Many records seem to have new identifiers",
        "Planned as they stand, they would be deactivated and made anew, or wait one by one.",
        "Look at the proposed `id_changes.csv` in the run's folder. If it is right, use it (`--use-proposal`, or the "
        "answer of that name in Airflow); else correct it and deliver it with the batch.",
        "rule 9", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-SWITCH", "The district's primary source is another one now",
        "Both sources know the same people by other keys, so that what both say has to tell who is who.",
        "Look at `switch.csv` in the run's folder and approve if the pairs are right; who is left without a row stays, "
        "until somebody lets go (`--let-go`, or the switch of that name in Airflow's form).",
        "section 11, sources", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-EMPTY", "Everything of a kind has vanished",
        "An export that failed looks like this.",
        "Look at the delivery; approve only if all of it was meant to go.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        GUARD_FORGOTTEN, "The delivery has somebody who was forgotten",
        "A family asked for it, and the source still has the person.",
        "Take the person out at the source; approve, and the rest loads. It is asked once: later nights only say so.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-LEFT-OUT", "Records would be deactivated after a plan was approved without its removals",
        "A person has just said that nobody goes; a few removals would pass the limits the night after.",
        "Look at the report; approve if the removals are real, or approve without them again.",
        "section 6, guard", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-STALE", "The delivery is older than the one of its source that was applied last",
        "Applying it would take the roster back in time.",
        "Wait for the next delivery, or approve if the older one is right.",
        "section 6, stale deliveries", WARNING, Scope.PLAN,
    ),
    Code(
        "GUARD-UNUSUAL", "Far more or far fewer records would change than in the runs before",
        "A change in the source that nobody announced shows like this long before it reaches a limit.",
        "Look at the report; correct the source, or undo the run, if the changes are not real.",
        "section 6, guard", WARNING, Scope.NONE,
    ),
)  # fmt: skip

CODES: dict[str, Code] = {code.code: code for code in _TABLE}
