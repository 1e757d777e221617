"""A district's settings: one YAML file, checked whole before anything runs.

Secrets never stand in it; it names Airflow connections instead.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from enrollsync.errors import ConfigurationError

Source = Literal["batch_upload", "clever", "oneroster"]


def project_root() -> Path:
    """Where relative paths start: `ENROLLSYNC_HOME`, else the checkout that holds this package."""
    home = os.environ.get("ENROLLSYNC_HOME")
    return Path(home) if home else Path(__file__).resolve().parents[2]


def districts_folder() -> Path:
    """The folder of district files: `ENROLLSYNC_DISTRICTS`, else `include/districts`."""
    named = os.environ.get("ENROLLSYNC_DISTRICTS")
    return Path(named) if named else project_root() / "include" / "districts"


@functools.cache
def _timezones() -> set[str]:
    """Looking them up takes milliseconds, and a thousand districts ask."""
    return available_timezones()


def _known_timezone(name: str) -> str:
    if name not in _timezones():
        raise ValueError("is no time zone; write one like America/New_York")
    return name


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader in C where PyYAML was built with it."""


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


class Limits(_Settings):
    """Above these a plan waits for a person; section 6, guard."""

    deactivate_percent: float = Field(10, ge=0, le=100)
    update_percent: float = Field(75, ge=0, le=100)
    floor: int = Field(5, ge=0)
    """A change to fewer records never waits."""


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
    thresholds: Limits = Limits()
    recheck_days: int = Field(7, ge=0)

    @property
    def zone(self) -> ZoneInfo:
        """The district's time zone, in which its nights and its dates are counted."""
        return ZoneInfo(self.timezone)

    def for_source(self, source: str, headers: Iterable[str]) -> District:
        """The settings as they hold for files of `source`, whose format knows `headers`.

        What is said of the primary source's files is not said of another's. A header may be spelt in any case.
        """
        if source != self.primary_source:
            columns, mode = {}, None
        else:
            spelt = {header.casefold(): header for header in headers}
            mode = self.source.mode
            columns = {key: spelt.get(name.casefold(), name) for key, name in self.identifiers.columns.items()}
        return self.model_copy(
            update={
                "identifiers": self.identifiers.model_copy(update={"columns": columns}),
                "source": self.source.model_copy(update={"mode": mode}),
            }
        )


def district_file(name: str) -> Path:
    """The YAML that `--district` means: a path to one, or a name in the folder of district files.

    Raises ConfigurationError when there is none.
    """
    as_path = Path(name)
    is_path = as_path.suffix in {".yaml", ".yml"} or as_path.is_file()
    found = as_path if is_path else districts_folder() / f"{name}.yaml"
    if not found.is_file():
        known = ", ".join(sorted(path.stem for path in districts_folder().glob("*.yaml"))) or "none"
        raise ConfigurationError(f"district {name!r}: no file {found}; districts here: {known}")
    return found


def load_district(name: str) -> District:
    """Read and check a district file.

    Raises ConfigurationError with file, key, what is wrong and what to write.
    """
    path = district_file(name)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: must be a list of `key: value` lines, starting with `district_id:`")
    try:
        return District.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item)) for item in error.errors())
        raise ConfigurationError(f"{path}: {problems}") from None


def _problem(item: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        return f"`{key}` is no known key; remove it or correct its spelling"
    if item["type"] == "missing":
        return f"`{key}` is missing; add it"
    return f"`{key}`: {item['msg'].removeprefix('Value error, ')} (found {item['input']!r})"
