"""The suites as they stand in `expectations/<entity>.json`, and what one run makes of them; without Great Expectations.

A suite is data: which expectation looks at which columns, for which finding (`meta.code`). `meta.column` names the
canonical column of the finding where it is not the one looked at, `meta.when` the circumstances that must all hold,
`meta.notes` what a person reads, and `meta.severity` stands there only where it differs from the table of findings.
`meta.once` is said of what no single line is at fault for: its finding stands on the first line alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from enrollsync.run.run import Run
from enrollsync.words.canonical import (
    ENROLLMENTS,
    ENTITIES,
    GRADES,
    KINDS,
    MEMBERSHIPS,
    ORGANIZATIONS,
    REMOVE,
    STATUSES,
    USERS,
    Entity,
)
from enrollsync.words.codes import CODES
from enrollsync.words.errors import ConfigurationError

FOLDER = Path(str(files("enrollsync"))) / "expectations"
CIRCUMSTANCES = frozenset({
    "ssn", "staff_only", "organizations_file", "memberships_file", "enrollment_roles", "role_due", "action", "status",
    "lookups",
    *(f"snapshot_of_{entity.name}" for entity in ENTITIES if entity.key),
})  # fmt: skip
"""What `meta.when` may name: that SSN-like identifiers are asked for, that files may bring staff only, that
organizations or memberships have a file of their own, that a file of enrollments says the role in the class, that a
person's role cannot be left to the roster, that a row may ask for something or say a status, that values are looked up
in other files, that all records of a kind are delivered."""

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


@dataclass(frozen=True)
class Asked:
    """One check of a suite as a run asks it."""

    type: str
    """Of the expectation."""
    kwargs: dict[str, Any]
    """Its arguments, `$PARAMETER`s in them as they stand in the suite."""
    meta: dict[str, Any]
    severity: str
    """Of its finding, in this run."""

    @property
    def looked_at(self) -> list[str]:
        """The columns that it looks at."""
        return list(self.kwargs.get("column_list") or [self.kwargs["column"]])

    @property
    def column(self) -> str:
        """The canonical column that its finding is about."""
        return str(self.meta.get("column") or self.kwargs["column"])


def asked_of(name: str, run: Run) -> list[Asked]:
    """The checks of one entity's suite that apply in this run, in their order. Raises as `read_suite` does."""
    holding = circumstances(name, run)
    return [
        Asked(check["type"], check["kwargs"], check["meta"], severity(check["meta"], run))
        for check in read_suite(name)
        if applies(check["meta"], holding)
    ]


def read_suite(name: str, folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The checks of one entity's suite: type, kwargs and meta.

    Raises ConfigurationError when the file is no JSON, or names an unknown finding or circumstance.
    """
    path = folder / f"{name}.json"
    content = _read(path)
    for number, check in enumerate(content, start=1):
        _check_meta(path, number, check)
    return content


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: the suite cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: the suite is not JSON: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list) or "name" not in content:
        raise ConfigurationError(f'{path}: a suite needs "name" and a list "expectations"')
    return list(content["expectations"])


def _check_meta(path: Path, number: int, declared: dict[str, Any]) -> None:
    meta = declared.get("meta", {})
    if meta.get("code") not in CODES:
        raise ConfigurationError(f"{path}: expectation {number}: meta.code {meta.get('code')!r} is no known finding")
    strange = sorted(set(meta.get("when", ())) - CIRCUMSTANCES)
    if strange:
        raise ConfigurationError(f"{path}: expectation {number}: meta.when: {', '.join(strange)} is not known")


def circumstances(entity: str, run: Run) -> frozenset[str]:
    """What holds for an entity in this run, of `CIRCUMSTANCES`."""
    manifest, district, declared = run.manifest, run.settings, run.format
    whole = (target for target in ENTITIES if target.key and manifest.mode_of(target.name) == "snapshot")
    holding = {f"snapshot_of_{target.name}" for target in whole}
    holding |= {column for column in ("action", "status") if manifest.may_say(entity, column)}
    if district.identifiers.ssn != "off":
        holding.add("ssn")
    if declared.source.name != district.primary_source:
        holding.add("staff_only")
    if declared.own_files(ORGANIZATIONS.name):
        holding.add("organizations_file")
    if declared.own_files(MEMBERSHIPS.name):
        holding.add("memberships_file")
    own_files = declared.own_files(ENROLLMENTS.name)
    if any(declared.called(file, ENROLLMENTS.name, "role") for file in own_files):
        holding.add("enrollment_roles")
    if manifest.mode_of(USERS.name) == "snapshot" or not declared.may_lack(USERS.name, "role"):
        holding.add("role_due")
    if any(mapping.lookups for mapping in declared.mappings if mapping.entity == entity):
        holding.add("lookups")
    return frozenset(holding)


def applies(meta: dict[str, Any], holding: frozenset[str]) -> bool:
    """Whether a check is asked where these circumstances hold."""
    return holding.issuperset(meta.get("when", ()))


def counts_for_removals(code: str, column: str, entity: Entity) -> bool:
    """Whether a check counts for a row that asks for a removal; `column` is the one that its finding is about.

    Nothing matters there but whom the row names and what it asks; the rest may be empty, or refer to nothing.
    """
    named = entity.links if entity.key is None else ("source_key", entity.identifier)
    return column in {*named, "action", "blanks"} and code != "REF-UNKNOWN"


def severity(meta: dict[str, Any], run: Run) -> str:
    """The severity that a check's finding has in this run."""
    if meta["code"] == "ID-SSN":
        return run.settings.identifiers.ssn
    return str(meta.get("severity") or CODES[meta["code"]].severity_in(run.format.source.name))


def parameters(run: Run) -> dict[str, Any]:
    """What the suites' `$PARAMETER`s and the braces in their notes stand for; dates are the district's."""
    declared = run.format
    regex, characters = CHARSETS[declared.charset]
    return {
        "identifier_regex": regex,
        "identifier_characters": characters,
        "identifier_joiner": "-" if declared.charset == "extended" else "",
        "opaque_regex": OPAQUE,
        "ssn_regex": SSN,
        "class_size": CLASS_SIZE,
        "link_files": (*declared.own_files(MEMBERSHIPS.name), *declared.own_files(ENROLLMENTS.name)),
        "grades": list(GRADES),
        "roles": list(KINDS),
        "statuses": list(STATUSES),
        "removal_actions": [REMOVE],
        "actions": " or ".join(word for word, meant in declared.words.get("action", {}).items() if meant),
        "keyed_entities": [entity.name for entity in ENTITIES if entity.key],
        "today": run.manifest.as_of.astimezone(run.settings.zone).date().isoformat(),
    }
