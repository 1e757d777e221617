"""A district's settings: one YAML file, checked whole before anything runs.

Secrets never stand in it; it names Airflow connections instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from enrollsync.errors import ConfigurationError

Source = Literal["batch_upload", "clever", "oneroster"]
Event = Literal["findings", "hold", "rejected", "refusal", "failure", "missing"]
"""What somebody can be told of: a success with findings, a plan that waits, one that will not be applied, a delivery
that cannot be used, a run that broke, and a delivery that has not come."""


def project_root() -> Path:
    """Where relative paths start: `ENROLLSYNC_HOME`, else the checkout that holds this package."""
    home = os.environ.get("ENROLLSYNC_HOME")
    return Path(home).resolve() if home else Path(__file__).resolve().parents[2]


def districts_folder() -> Path:
    """The folder of district files: `ENROLLSYNC_DISTRICTS`, else `include/districts`."""
    named = os.environ.get("ENROLLSYNC_DISTRICTS")
    return Path(named) if named else project_root() / "include" / "districts"


def runs_folder(district: District) -> Path:
    """Where the district's runs have their workspaces."""
    return project_root() / "data" / "runs" / district.district_id


@functools.cache
def _timezones() -> set[str]:
    """Looking them up takes milliseconds, and a thousand districts ask."""
    return available_timezones()


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("is no time zone; write one like America/New_York")
    return name


_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader in C where PyYAML was built with it."""


class _Loader(_Fastest):  # type: ignore[misc]
    """Leaves dates text, which the settings read and name by their key, and refuses a key that stands there twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Fastest.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        """The file's one document as nodes, before merge keys are put in the place of what they name."""
        root: yaml.Node | None = super().get_single_node()
        _refuse_doubled_keys(root)
        return root


def _refuse_doubled_keys(root: yaml.Node | None) -> None:
    """YAML's reader would take the last one, and nobody would see it."""
    waiting, known = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in known:
            continue
        known.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_doubled([key for key, _ in node.value])
            waiting.extend(value for _, value in node.value)
        else:
            waiting.extend(node.value)


def _refuse_doubled(keys: list[yaml.Node]) -> None:
    found: set[tuple[str, str]] = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in found:
                problem = f"`{key.value}` stands there twice; remove one"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            found.add((key.tag, key.value))


def _bare_off(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError("is no text encoding; write one like utf-8 or cp1252") from None
    return name


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Settings):
    """Where the batches are found and how their headers are spelt."""

    path: str
    """Folder or zip; relative to the project's root."""
    connection: str | None = None
    """An Airflow connection that `path` is reached through."""
    mode: Literal["snapshot", "delta"] | None = None
    """None: the format's own."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Header in the files -> header that the format expects."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    due_hours: float | None = Field(None, gt=0, le=87_600, allow_inf_nan=False)
    """A delivery older than this when a run looks for one is overdue; None: it may be of any age."""


_OTHER_SOURCE: dict[str, Any] = {"mode": None, "columns": {}, "encoding": "utf-8"}
"""What holds of the files of a source that is not the primary one."""


class DatabaseSettings(_Settings):
    """The roster database: a URL without a password, or an Airflow connection."""

    url: str | None = None
    connection: str | None = None

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
    columns: dict[Literal["organizations", "classes", "users", "students", "teachers", "staff"], str] = Field(
        default_factory=dict
    )
    """`organizations`, `classes`, `users`, `students`, `teachers` or `staff` -> source column of the identifier."""


class Owner(_Settings):
    """Who looks after the district's roster, shown on its DAGs."""

    name: str = Field("enrollsync", min_length=1)
    link: str | None = Field(None, pattern=r"^(https?://|mailto:)")


class NotifySettings(_Settings):
    """Whom to tell what came of a run. Addresses and keys of the senders are Airflow connections."""

    email: list[str] = Field(default_factory=list)
    """Sent through the Airflow connection `smtp_default`."""
    webhook: str | None = None
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


class Window(SomeLimits):
    """Days on which other limits hold, in the district's time zone; the roll-over week of a summer."""

    first: Annotated[date, BeforeValidator(_calendar_day)] = Field(alias="from")
    last: Annotated[date, BeforeValidator(_calendar_day)] = Field(alias="to")
    """The window's last day, on which it still holds."""
    name: str | None = None

    @model_validator(mode="after")
    def _forwards(self) -> Window:
        if self.first > self.last:
            raise ValueError(f"`from` {self.first} is after `to` {self.last}; write the earlier day as `from`")
        return self

    def __str__(self) -> str:
        days = f"{self.first} to {self.last}"
        return f"{self.name} ({days})" if self.name else days


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


class District(_Settings):
    """One district: the tenant that everything is keyed by."""

    district_id: str = Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=200)
    name: str
    primary_source: Source
    schedule: str | None = None
    """Cron expression in the district's time zone; None: only by hand."""
    timezone: Annotated[str, AfterValidator(_known_timezone)] = "UTC"
    source: SourceSettings
    database: DatabaseSettings
    identifiers: IdentifierSettings = IdentifierSettings()
    thresholds: Thresholds = Thresholds()
    recheck_days: int = Field(7, ge=0, le=36_500)
    """A run takes no short cut when the last full check is so many days old."""
    owner: Owner = Owner()
    notify: NotifySettings = NotifySettings()

    @property
    def zone(self) -> ZoneInfo:
        """The district's time zone, in which its nights and its dates are counted."""
        return ZoneInfo(self.timezone)

    def for_source(self, source: str, headers: Iterable[str]) -> District:
        """The settings as they hold for files of `source`, whose format knows `headers`.

        What is said of the primary source's files is not said of another's. A header may be spelt in any case.
        """
        if source != self.primary_source:
            columns, files = {}, _OTHER_SOURCE
        else:
            spelt = {header.casefold(): header for header in headers}
            columns = {key: spelt.get(name.casefold(), name) for key, name in self.identifiers.columns.items()}
            files = {}
        return self.model_copy(
            update={
                "identifiers": self.identifiers.model_copy(update={"columns": columns}),
                "source": self.source.model_copy(update=files),
            }
        )


def district_file(name: str) -> Path:
    """The YAML that `--district` means: a path to one, or a name in the folder of district files.

    Raises ConfigurationError when there is none, or when it cannot be looked for.
    """
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
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {_yaml_problem(error)}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be a list of `key: value` lines, starting with `district_id:`")
    try:
        return District.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item)) for item in error.errors())
        raise ConfigurationError(f"{path}: {problems}") from None


def _yaml_problem(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return f"line {error.problem_mark.line + 1}: {said}"
    if isinstance(error, UnicodeDecodeError):
        line = error.object[: error.start].count(b"\n") + 1
        return f"line {line}: a byte is not UTF-8; save the file as UTF-8"
    return " ".join(str(error).split())


def _problem(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        return f"`{key}` is no known key; remove it or correct its spelling"
    if item["type"] == "missing":
        return f"`{key}` is missing; add it"
    found = "" if isinstance(item["input"], (dict, list)) else f" (found {item['input']!r})"
    return f"`{key}`: {item['msg'].removeprefix('Value error, ')}{found}"
