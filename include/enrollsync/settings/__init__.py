"""A district's settings: one YAML file, checked whole before anything runs.

Secrets never stand in it; it names Airflow connections instead.
"""

from __future__ import annotations

import codecs
import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from enrollsync.formats import FORMATS, Format, identifier_settings, sources
from enrollsync.formats.rules import Case, Skip, headers_meant, strange_words, with_rules
from enrollsync.settings.address import read_address
from enrollsync.settings.yaml_file import read_yaml, shown_key
from enrollsync.words.canonical import USERS
from enrollsync.words.errors import ConfigurationError
from enrollsync.words.printable import first_of

Event = Literal["findings", "hold", "rejected", "refusal", "failure", "missing"]
"""What somebody can be told of: a success with findings, a plan that waits, one that will not be applied, a delivery
that cannot be used, a run that broke, and a delivery that has not come."""


def project_root() -> Path:
    """Where relative paths start: `ENROLLSYNC_HOME`, else the checkout that holds this package."""
    home = os.environ.get("ENROLLSYNC_HOME")
    return Path(home).resolve() if home else Path(__file__).resolve().parents[3]


def districts_folder() -> Path:
    """The folder of district files: `ENROLLSYNC_DISTRICTS`, else `include/districts`."""
    named = os.environ.get("ENROLLSYNC_DISTRICTS")
    return Path(named) if named else project_root() / "include" / "districts"


def claimed_twice(claims: Mapping[Path, str]) -> dict[Path, str]:
    """Of district files and the `district_id` of each: which cannot be used, and why, because another has that id.

    Of files that claim one id, the one of that name (else the first by name) is usable.
    """
    owners: dict[str, Path] = {}
    taken = {}
    for path, claimed in sorted(claims.items(), key=lambda item: (item[0].stem != item[1], item[0].name)):
        owner = owners.setdefault(claimed, path)
        if owner != path:
            taken[path] = f"`district_id`: {claimed!r} is already used by {owner.name}; choose another"
    return taken


def runs_folder(district: District) -> Path:
    """Where the district's runs have their workspaces."""
    return project_root() / "data" / "runs" / district.district_id


def run_folder(district: District, run_id: str) -> Path:
    """The workspace of one run; a run id of Airflow's may have characters that no folder should."""
    return runs_folder(district) / re.sub(r"^\.|[^A-Za-z0-9_.-]", "_", run_id)


def uploads_folder(district_id: str) -> Path:
    """Where deliveries to a district are kept that somebody sent from a browser."""
    return project_root() / "data" / "uploads" / district_id


def largest_upload() -> int:
    """Bytes that may be sent from a browser at once: `ENROLLSYNC_UPLOAD_MIB`, else 512 MiB.

    Raises ConfigurationError for what is no number of MiB.
    """
    given = os.environ.get("ENROLLSYNC_UPLOAD_MIB", "512")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        raise ConfigurationError("ENROLLSYNC_UPLOAD_MIB: is no whole number of MiB; write one like 512")
    return int(given) << 20


@functools.cache
def _listed_timezones() -> set[str]:
    """Those of tzdata's list, which pandas brings along."""
    try:
        return set(Path(*import_module("tzdata").__path__, "zones").read_text(encoding="utf-8").split())
    except (ModuleNotFoundError, OSError):
        return set()


@functools.cache
def _timezones() -> set[str]:
    """Those that this machine has files of: looked for in its folders, which takes as long as a small file."""
    return available_timezones()


def _known_timezone(name: str) -> str:
    if name not in _listed_timezones() and name not in _timezones():
        raise ValueError("is no time zone; write one like America/New_York")
    return name


def _bare_off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


_NO_FILES = {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
"""Python's encodings of text that none of whoever writes rosters writes: they read plain text as something else."""


def _known_encoding(name: str) -> str:
    try:
        is_known = codecs.lookup(name).name not in _NO_FILES and "".encode(name) is not None
    except (LookupError, ValueError):
        is_known = False
    if not is_known:
        raise ValueError("is no encoding of text files; write one like utf-8 or cp1252")
    return name


def _storable(column: str) -> str:
    """The lines of a file have their numbers beside its columns."""
    if column.casefold() in {"line", "lines"}:
        raise ValueError("cannot be read under this name; give the column another one with `source.columns`")
    return column


def _one_of(known: Iterable[str], given: str) -> str:
    """As pydantic says it of a `Literal`."""
    *others, last = (f"'{name}'" for name in known)
    if f"'{given}'" not in {*others, last}:
        raise ValueError(f"Input should be {', '.join(others)} or {last}")
    return given


def _known_source(name: str) -> str:
    return _one_of(sources(), name)


def _known_identifier(name: str) -> str:
    return _one_of(identifier_settings(), name)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has a character that does not print; write one line of text")
    return text


def _connection_name(name: str) -> str:
    """A whole address in its place would be shown wherever the name is."""
    if not re.fullmatch(r"[\w.-]{1,200}", name):
        raise ValueError("is no name of an Airflow connection; put the address into one and write its name")
    return name


def _without_password(url: str) -> str:
    if read_address(url).secrets:
        raise ValueError(
            "holds a password, and none may stand in a file; write `connection:` with the name of an Airflow "
            "connection that has it, or leave it to ~/.pgpass"
        )
    return url


Line = Annotated[str, AfterValidator(_one_line)]


def _without_login(place: str) -> str:
    if re.search("://[^/]*@", place):
        raise ValueError("holds a login, and none may stand in a file; put it into an Airflow connection")
    return place


def _known_place(path: str) -> str:
    if "://" in path and not re.fullmatch(r"s3://[A-Za-z0-9._-]+(/[^/]+)*/?", path):
        raise ValueError("is no place that is read; write a folder, or one like s3://bucket/folder")
    return path


ConnectionName = Annotated[str, AfterValidator(_connection_name)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _a_text(value: object) -> object:
    """YAML reads a bare 07 as a number, and a bare no as false."""
    if not isinstance(value, str):
        raise ValueError('is read as no text; write it in quotation marks, like "07"')
    return value


Text = Annotated[str, BeforeValidator(_a_text), AfterValidator(_one_line)]


def _each_once(words: dict[str, str]) -> dict[str, str]:
    """Words are read in any case."""
    doubled = [one for one in words if sum(one.lower() == other.lower() for other in words) > 1]
    if doubled:
        raise ValueError(f"has {first_of(doubled)} more than once, in any case; keep one of them")
    return words


def _ready(given: object) -> object:
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        is_sign = False
    elif isinstance(given, int):
        is_sign = 1 <= given <= 86_400
    else:
        is_marker = re.fullmatch(r"[\w.-]{1,100}", given) and set(given) != {"."}
        is_sign = bool(is_marker) and not given.lower().endswith((".csv", ".zip", ".gz"))
    if not is_sign:
        raise ValueError("is no sign of completeness; write `manifest`, a file's name like .done, or seconds like 120")
    return given


class SkipSettings(_Settings):
    """Lines of one file that are left out, by what stands in a column."""

    file: Line
    column: Annotated[Line, AfterValidator(_storable)]
    one_of: list[Text] = Field(min_length=1)
    """In any case; "" for an empty cell."""


class SourceSettings(_Settings):
    """Where the batches are found and how their headers are spelt."""

    path: Annotated[str, AfterValidator(_without_login), AfterValidator(_known_place)] | None = None
    """Folder or zip, relative to the project's root; `s3://bucket/prefix`; with `connection`, a folder of an SFTP
    server. None: `api`."""
    api: Literal["clever"] | None = None
    """The API that is asked, in place of `path`."""
    connection: ConnectionName | None = None
    """An Airflow connection: what `path` is reached through, or the API's address and token."""
    mode: Literal["snapshot", "delta"] | None = None
    """None: the format's own."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Header in the files -> header that the format expects."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    values: dict[Text, Annotated[dict[Text, Text], Field(min_length=1), AfterValidator(_each_once)]] = Field(
        default_factory=dict
    )
    """Column, by a header of the format or as the views call it -> a word in it, in any case -> what it means."""
    case: dict[Text, Case] = Field(default_factory=dict)
    """Column, named likewise -> the case that its texts are brought to."""
    skip: list[SkipSettings] = Field(default_factory=list)
    ready: Annotated[int | str, BeforeValidator(_ready)] | None = None
    """What tells that a delivery is complete: `manifest`, the name of a marker beside or within it, or how many seconds
    nothing has been written to it; None: that no file's name says it is still arriving."""
    watch: bool = False
    """Whether a delivery starts a run by itself, besides the schedule."""
    due_hours: float | None = Field(None, gt=0, le=87_600, allow_inf_nan=False)
    """A delivery older than this when a run looks for one is overdue; None: it may be of any age."""

    @property
    def place(self) -> str:
        """Where deliveries come from, for a person."""
        behind = f"behind the connection {self.connection}" if self.connection else ""
        return f"{self.path or 'the API'} {behind}".strip()

    @property
    def is_remote(self) -> bool:
        """Whether deliveries lie as files on another machine."""
        return self.path is not None and (self.connection is not None or self.is_in_bucket)

    @property
    def is_in_bucket(self) -> bool:
        """Whether they lie in an object store."""
        return self.path is not None and self.path.startswith("s3://")

    @property
    def folder(self) -> Path | None:
        """The landing folder, or the zip, on this machine; None where deliveries come from elsewhere."""
        return None if self.path is None or self.is_remote else project_root() / self.path

    @model_validator(mode="after")
    def _path_or_api(self) -> SourceSettings:
        if self.path is None and self.api is None:
            raise ValueError("needs `path`, a folder or a zip, or `api: clever` with a `connection`")
        if self.path is not None and self.api is not None:
            raise ValueError("has `path` and `api`; leave one out")
        if self.api and self.connection is None:
            raise ValueError("`api` needs `connection`, the name of an Airflow connection with the token")
        if self.api and self.watch:
            raise ValueError("`watch` looks where deliveries lie, and `api` has no such place; leave one out")
        if self.api and (self.columns or self.encoding != "utf-8"):
            raise ValueError("`columns` and `encoding` speak of files, and `api` has none; leave them out")
        return self


class DatabaseSettings(_Settings):
    """The roster database: a URL without a password, or an Airflow connection."""

    url: Annotated[str, AfterValidator(_without_password)] | None = None
    connection: ConnectionName | None = None

    @model_validator(mode="before")
    @classmethod
    def _a_section(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise ValueError("needs `url:` or `connection:` on a line of its own beneath it")
        return given

    @model_validator(mode="after")
    def _one_of_both(self) -> DatabaseSettings:
        if (self.url is None) == (self.connection is None):
            raise ValueError("needs either `url` or `connection`")
        return self


class IdentifierSettings(_Settings):
    """How strict identifiers are checked; rules 2 and 5."""

    ssn: Annotated[Literal["critical", "warning", "off"], BeforeValidator(_bare_off)] = "warning"
    charset: Literal["alphanumeric", "extended"] | None = None
    """None: the source's own, `alphanumeric` for Batch Upload, else `extended`."""
    columns: dict[Annotated[str, AfterValidator(_known_identifier)], Annotated[str, AfterValidator(_storable)]] = Field(
        default_factory=dict
    )
    """`organizations`, `classes`, `users`, `students`, `teachers` or `staff` -> source column of the identifier;
    secondary ID -> its column. Of values with types, the type too: `userIds:SIS`."""


class RetentionSettings(_Settings):
    """After how many days what is kept goes; None: it stays."""

    workspaces: int | None = Field(None, ge=7, le=36_500)
    """Folders of runs."""
    quarantine: int | None = Field(None, ge=7, le=36_500)
    """Rejected lines, within such a folder."""
    audit: int | None = Field(None, ge=30, le=36_500)
    """People's values in the audit: without them a run cannot be undone, and an earlier day not be shown."""

    @model_validator(mode="after")
    def _folders_first(self) -> Self:
        """Whoever is to be forgotten is found in kept files by what the audit knows of them."""
        if self.audit is not None and not (self.workspaces is not None and self.workspaces <= self.audit):
            raise ValueError("`audit` is shorter than `workspaces`; write workspaces with as many days, or fewer")
        return self


class Owner(_Settings):
    """Who looks after the district's roster, shown on its DAGs."""

    name: Line = Field("enrollsync", min_length=1)
    link: Annotated[str, AfterValidator(_without_login)] | None = Field(None, pattern=r"^(https?://|mailto:)")


class NotifySettings(_Settings):
    """Whom to tell what came of a run. Addresses and keys of the senders are Airflow connections."""

    email: list[str] = Field(default_factory=list)
    """Sent through the Airflow connection `smtp_default`."""
    webhook: ConnectionName | None = None
    """An Airflow connection of type `http`; it gets JSON with a `text`, as Slack and others take it."""
    events: list[Event] = Field(default_factory=lambda: list(get_args(Event)))


def _quoted_identifier(value: object) -> object:
    """YAML reads a bare 0012 as the number 10, and nobody can tell afterwards."""
    if not isinstance(value, str):
        raise ValueError('is read as no text; write the identifier in quotation marks, like "0012"')
    return value


def _calendar_day(value: object) -> object:
    """Pydantic would take a number for seconds since 1970."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("is no date; write one like 2026-08-01") from None


Percent = Annotated[float, Field(ge=0, le=100)]
SELDOM_CHANGED: dict[str, float] = {"given_name": 5, "family_name": 5, "birth_date": 5}
"""What hardly ever changes of a person -> percent of the active users for whom it may, unless a district says else."""


def _fields_of_users(limits: dict[str, float]) -> dict[str, float]:
    for name in limits:
        if name not in USERS.values:
            raise ValueError(f"{name!r} is no field of users; write one of {', '.join(USERS.values)}")
    return limits


FieldLimits = Annotated[dict[str, Percent], AfterValidator(_fields_of_users)]


class Limits(_Settings):
    """Above these a plan waits for a person; section 6, guard."""

    deactivate_percent: float = Field(10, ge=0, le=100)
    """Of the active records."""
    update_percent: float = Field(75, ge=0, le=100)
    """Of the active records; updated or re-identified."""
    floor: int = Field(5, ge=0)
    """A change to fewer records never waits."""


class SomeLimits(_Settings):
    """Those of `Limits` that are others here; None: what holds elsewhere."""

    deactivate_percent: float | None = Field(None, ge=0, le=100)
    update_percent: float | None = Field(None, ge=0, le=100)
    floor: int | None = Field(None, ge=0)


class Days(_Settings):
    """Some days on end, in the district's time zone."""

    first: Annotated[date, BeforeValidator(_calendar_day)] = Field(alias="from")
    last: Annotated[date, BeforeValidator(_calendar_day)] = Field(alias="to")
    """The last of them."""
    name: Line | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"`from` {self.first} is after `to` {self.last}; write the earlier day as `from`")
        return self

    def __str__(self) -> str:
        days = f"{self.first} to {self.last}"
        return f"{self.name} ({days})" if self.name else days


class Pause(Days):
    """Days on which scheduled runs rest; a winter break."""


class Window(SomeLimits, Days):
    """Days on which other limits hold; the roll-over week of a summer."""

    fields: FieldLimits = Field(default_factory=dict)
    """As `Thresholds.fields`; what `update_percent` lets pass says nothing of names."""


def _apart(windows: list[Window]) -> list[Window]:
    """On one day only one window may hold, or nobody could say which."""
    for one, next_one in pairwise(sorted(windows, key=lambda window: window.first)):
        if next_one.first <= one.last:
            raise ValueError(f"{one} and {next_one} overlap; end the first before {next_one.first}, or make them one")
    return windows


class Thresholds(Limits):
    """The district's limits, and where or when others hold; `guard.py` says which wins."""

    entities: dict[Literal["organizations", "users", "memberships", "classes", "enrollments"], SomeLimits] = Field(
        default_factory=dict
    )
    organizations: dict[Annotated[str, BeforeValidator(_quoted_identifier)], SomeLimits] = Field(default_factory=dict)
    """Organization's identifier -> limits for the users and the classes within it."""
    windows: Annotated[list[Window], AfterValidator(_apart)] = Field(default_factory=list)
    fields: Annotated[FieldLimits, AfterValidator(lambda given: SELDOM_CHANGED | given)] = Field(
        default_factory=lambda: dict(SELDOM_CHANGED)
    )
    """Field of users -> percent of the active users for whom a value that they have may change."""


class District(_Settings):
    """One district: the tenant that everything is keyed by."""

    district_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)
    name: Line
    primary_source: Annotated[str, AfterValidator(_known_source)]
    schedule: str | None = None
    """Cron expression in the district's time zone; None: only by hand."""
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    size: Literal["small", "large"] = "small"
    """The Celery queue in which its tasks wait; other executors have none."""
    source: SourceSettings
    database: DatabaseSettings
    identifiers: IdentifierSettings = IdentifierSettings()
    thresholds: Thresholds = Thresholds()
    edits: Literal["stick", "yield"] = "stick"
    """Whether what a person changed on a profile page stays while deliveries still say what was before, or they win."""
    recheck_days: int = Field(7, ge=0, le=36_500)
    """A run takes no short cut when the last full check is so many days old."""
    data_docs: bool = False
    """Whether each run writes Great Expectations' own site, `data_docs/`; the report has its results in any case."""
    owner: Owner = Owner()
    notify: NotifySettings = NotifySettings()
    retention: RetentionSettings = RetentionSettings()
    pauses: list[Pause] = Field(default_factory=list)
    """They may overlap: a day of any of them is a day of rest."""

    @model_validator(mode="after")
    def _rules_mean_something(self) -> Self:
        """A rule for a file or a column that no format of the source has would silently do nothing."""
        if problems := [*_problems_of_rules(self.source, self.primary_source)]:
            raise ValueError(first_of(problems, "; "))
        return self

    @model_validator(mode="after")
    def _api_of_the_primary_source(self) -> Self:
        if self.source.api and self.source.api != self.primary_source:
            raise ValueError(f"`source.api` is {self.source.api}, so `primary_source` has to be that too")
        return self

    def pause_at(self, moment: datetime) -> Pause | None:
        """The pause that the moment's day in the district's time zone is in."""
        day = moment.astimezone(self.zone).date()
        return next((pause for pause in self.pauses if pause.first <= day <= pause.last), None)

    @property
    def zone(self) -> ZoneInfo:
        """The district's time zone, in which its nights and its dates are counted."""
        return ZoneInfo(self.timezone)

    def fitted(self, declared: Format) -> Format:
        """The format as it holds for this district's files.

        What is said of the primary source's files is not said of another's.
        """
        charset = self.identifiers.charset
        if declared.source.name != self.primary_source:
            return declared.fitted(charset=charset)
        fitted = declared.fitted(
            mode=self.source.mode,
            charset=charset,
            encoding=self.source.encoding,
            renames=self.source.columns,
            identifiers=self.identifiers.columns,
        )
        skip = [Skip(one.file, one.column, tuple(one.one_of)) for one in self.source.skip]
        return with_rules(fitted, values=self.source.values, case=self.source.case, skip=skip)


def _problems_of_rules(source: SourceSettings, primary_source: str) -> Iterator[str]:
    ours = (declared for declared in FORMATS.values() if declared.source.name == primary_source)
    formats = [declared for declared in ours if declared.is_fetched == bool(source.api)]
    for name, keys in (("values", source.values), ("case", source.case)):
        for key in keys:
            if not any(headers_meant(declared, key) for declared in formats):
                yield f"`source.{name}.{shown_key(key)}` is no column of {primary_source}; write a header of its files"
    for key, words in source.values.items():
        for declared in formats:
            strange, known = strange_words(declared, key, words)
            if strange:
                said = f"{first_of(strange)} is nothing that a roster says there; write one of {', '.join(known)}"
                yield f"`source.values.{shown_key(key)}`: {said}"
    files = list(dict.fromkeys(spec.name for declared in formats for spec in declared.files if spec.read))
    for number, one in enumerate(source.skip, start=1):
        if one.file not in files:
            yield f"`source.skip`, rule {number}: {one.file} is no file that is read; write one of {', '.join(files)}"


def district_file(name: str) -> Path:
    """The YAML that `--district` means: a path to one, or a name in the folder of district files.

    Raises ConfigurationError when there is none, or when it cannot be looked for.
    """
    if "://" in name:
        raise ConfigurationError("district: found an address; write a name in include/districts, or a file's path")
    try:
        found = _district_file(Path(name))
        there = found.is_file()
    except OSError as error:
        raise ConfigurationError(f"district {name!r}: its file cannot be looked for: {error.strerror}") from None
    if not there:
        known = ", ".join(sorted(path.stem for path in districts_folder().glob("*.yaml"))) or "none"
        raise ConfigurationError(f"district {name!r}: no file {found}; districts here: {known}")
    return found


def _district_file(name: Path) -> Path:
    is_path = name.suffix in {".yaml", ".yml"} or name.is_file()
    return name if is_path else districts_folder() / f"{name}.yaml"


def load_district(name: str) -> District:
    """Read and check a district file.

    Raises ConfigurationError with file, key, what is wrong and what to write.
    """
    path = district_file(name)
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be a list of `key: value` lines, starting with `district_id:`")
    try:
        return District.model_validate(content)
    except ValidationError as error:
        problems = [_problem(dict(item)) for item in error.errors()]
        raise ConfigurationError(f"{path}: {first_of(problems, '; ')}") from None


def _problem(item: dict[str, Any]) -> str:
    """What is wrong with one key."""
    key = _named(item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{key} is no known key; remove it or correct its spelling"
    if item["type"] == "missing":
        return f"{key} is missing; add it"
    said = f"{item['msg'].removeprefix('Value error, ')}{_found(item)}"
    return f"{key}: {said}" if item["loc"] else said


def _named(place: Sequence[str | int]) -> str:
    """The key that stands at `place`; what belongs into a value of `database` may stand there as a key."""
    keys = [str(key) for key in place]
    if keys[:1] == ["database"] and not DatabaseSettings.model_fields.keys() >= set(keys[1:]):
        return "a key in `database` besides `url` and `connection`"
    return f"`{'.'.join(map(shown_key, keys)) or 'the file'}`"


def _found(item: dict[str, Any]) -> str:
    """The value that was found, where a number or one of few words belongs; elsewhere a password may stand."""
    value = item["input"]
    if _SECRETIVE & set(item["loc"]) or item["type"] in _SECTIONS or isinstance(value, (dict, list)):
        return ""
    return f" (found {value!r})" if re.fullmatch(r"[\w .,+/*-]{0,80}", str(value)) else ""


_SECRETIVE = {"database", "notify", "connection"}
"""Keys beneath which no value is quoted."""
_SECTIONS = {"model_type", "dict_type", "list_type"}
"""Errors of a text in the place of a whole section."""
