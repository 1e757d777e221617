"""Suites: reading `expectations/<entity>.json` without losing a check, and fitting them to one run.

A suite is data: which expectation looks at which columns, for which finding (`meta.code`). `meta.column` names the
canonical column of the finding where it is not the one looked at, `meta.when` the circumstances that must all hold,
`meta.notes` what a person reads, and `meta.severity` stands there only where it differs from the table of findings.
`meta.once` is said of what no single line is at fault for: its finding stands on the first line alone.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuite
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.registry import list_registered_expectation_implementations

from enrollsync.formats import FORMATS
from enrollsync.run.workspace import RunManifest
from enrollsync.settings import District
from enrollsync.validate import expectations as _registering  # noqa: F401
from enrollsync.words.canonical import ENTITIES, GRADES, KINDS
from enrollsync.words.codes import CODES
from enrollsync.words.errors import ConfigurationError

FOLDER = Path(str(files("enrollsync"))) / "expectations"
CIRCUMSTANCES = frozenset({*FORMATS, "oneroster", "snapshot", "delta", "ssn", "staff_only"})
"""What `meta.when` may name: a format, a mode, whether SSN-like identifiers are asked for, and staff-only uploads."""

_AREA = "(?:00[1-9]|0[1-9][0-9]|[1-578][0-9]{2}|6[0-57-9][0-9]|66[0-57-9])"
_GROUP = "(?:0[1-9]|[1-9][0-9])"
_SERIAL = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
SSN = rf"^(?:{_AREA}{_GROUP}{_SERIAL}|{_AREA}-{_GROUP}-{_SERIAL})\Z"
"""Rule 5: nine digits, or 3-2-4 with hyphens, that could be a social security number."""
OPAQUE = r"^(?:[0-9]{6,}|[0-9A-Fa-f]{16,}|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})\Z"
"""Rule 8: a long number, a hash or a UUID, which nobody remembers."""
CLASS_SIZE = 80
"""More students in one class are told; the size that Batch Upload recommends."""
CHARSETS: dict[str, tuple[str, str]] = {
    "alphanumeric": (r"^[A-Za-z0-9]+\Z", "letters A to Z and digits"),
    "extended": (r"^[\p{L}0-9._/@-]+\Z", "letters, digits and . - _ / @"),
}
"""Rule 2: `identifiers.charset` -> its pattern and what a person is told.

Arrow matches by RE2's rules. `$` would let a line break at the end pass, and make pandas leave Arrow for Python's `re`
(which knows no `\\p`) as soon as one value holds a line break.
"""


def load_suite(name: str, folder: Path = FOLDER) -> ExpectationSuite:
    """The suite of one entity, whole.

    Raises ConfigurationError when the file is no JSON, names an unknown finding, circumstance or type of expectation,
    or when Great Expectations would drop one of its expectations (it logs such and goes on).
    """
    path = folder / f"{name}.json"
    content = _read(path)
    for number, declared in enumerate(content["expectations"], start=1):
        _check_meta(path, number, declared)
    known = set(list_registered_expectation_implementations())
    unknown = sorted({declared.get("type", "(none)") for declared in content["expectations"]} - known)
    if unknown:
        raise ConfigurationError(f"{path}: no such expectation: {', '.join(unknown)}; correct the type or register it")
    try:
        suite = ExpectationSuite(name=content["name"], expectations=content["expectations"])
    except Exception as error:
        raise ConfigurationError(f"{path}: not a suite of expectations: {' '.join(str(error).split())}") from None
    if len(suite.expectations) != len(content["expectations"]):
        lost = len(content["expectations"]) - len(suite.expectations)
        raise ConfigurationError(f"{path}: {lost} expectation(s) were dropped; correct their kwargs")
    return suite


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: the suite cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: the suite is not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list) or "name" not in content:
        raise ConfigurationError(f'{path}: a suite needs "name" and a list "expectations"')
    return content


def _check_meta(path: Path, number: int, declared: dict[str, Any]) -> None:
    meta = declared.get("meta", {})
    if meta.get("code") not in CODES:
        raise ConfigurationError(f"{path}: expectation {number}: meta.code {meta.get('code')!r} is no known finding")
    strange = sorted(set(meta.get("when", ())) - CIRCUMSTANCES)
    if strange:
        raise ConfigurationError(f"{path}: expectation {number}: meta.when: {', '.join(strange)} is not known")


def fitted_suite(name: str, manifest: RunManifest, district: District) -> ExpectationSuite:
    """The suite as this run asks it: only what applies here, each with the severity that it has here."""
    suite = load_suite(name)
    holding = circumstances(manifest, district)
    suite.expectations = [check for check in suite.expectations if holding.issuperset(meta_of(check).get("when", ()))]
    for check in suite.expectations:
        check.severity = FailureSeverity(_severity(meta_of(check), manifest, district))
    return suite


def meta_of(check: Expectation) -> dict[str, Any]:
    """What the suite says of a check besides the question itself."""
    return check.meta or {}


def circumstances(manifest: RunManifest, district: District) -> frozenset[str]:
    """What holds in this run, of `CIRCUMSTANCES`."""
    holding = {str(manifest.format), manifest.mode}
    if district.identifiers.ssn != "off":
        holding.add("ssn")
    if manifest.format == "batch_upload" and district.primary_source != "batch_upload":
        holding.add("staff_only")
    return frozenset(holding)


def _severity(meta: dict[str, Any], manifest: RunManifest, district: District) -> str:
    if meta["code"] == "ID-SSN":
        return district.identifiers.ssn
    return str(meta.get("severity") or CODES[meta["code"]].severity_in(str(manifest.format)))


def parameters(manifest: RunManifest, district: District) -> dict[str, Any]:
    """What the suites' `$PARAMETER`s and the braces in their notes stand for; dates are the district's."""
    charset = district.identifiers.charset or FORMATS[str(manifest.format)].charset
    regex, characters = CHARSETS[charset]
    return {
        "identifier_regex": regex,
        "identifier_characters": characters,
        "identifier_joiner": "-" if charset == "extended" else "",
        "opaque_regex": OPAQUE,
        "ssn_regex": SSN,
        "class_size": CLASS_SIZE,
        "grades": list(GRADES),
        "roles": list(KINDS),
        "keyed_entities": [entity.name for entity in ENTITIES if entity.key],
        "today": manifest.as_of.astimezone(district.zone).date().isoformat(),
    }


def columns(suite: ExpectationSuite) -> tuple[str, ...]:
    """The columns that a suite looks at, each once."""
    named = [column for check in suite.expectation_configurations for column in looked_at(check)]
    return tuple(dict.fromkeys(named))


def looked_at(check: ExpectationConfiguration) -> list[str]:
    """The columns that one check looks at."""
    return list(check.kwargs.get("column_list") or [check.kwargs["column"]])


def finding_column(check: Expectation) -> str:
    """The canonical column that a check's finding is about."""
    meta = meta_of(check)
    return str(meta.get("column") or check.configuration.kwargs["column"])
