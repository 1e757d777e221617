"""How a sample is written in each format: as an export is, with what the files say besides and no roster has.

What is planted in the files is declared in `faults.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from enrollsync.formats import FORMATS, Filled, Format, Lines
from enrollsync.sample.faults import (
    BATCH_UPLOAD_FAULTS,
    CLEVER_FAULTS,
    ONEROSTER_1_1_FAULTS,
    ONEROSTER_1_2_FAULTS,
    Fault,
)
from enrollsync.sample.roster import Records

PASSWORD = "not-a-real-password"
"""Filler, which shows that nothing ever copies that column."""


_CONTACT = {"Contact_relationship": Filled(("line.is_primary",), words=("Mother", "Father"))}


@dataclass(frozen=True)
class Layout:
    """One format as a sample writes it."""

    declared: Format
    faults: Sequence[Fault]
    more: Records = field(default_factory=dict)
    """What its files say and no roster has."""
    second_contacts: bool = False
    """Whether some students stand on a second line, which differs in the contact alone."""

    @property
    def written(self) -> Format:
        """The format with `more` in the files that know these columns and are of such records."""
        return replace(self.declared, lines=tuple(map(self._filled, self.declared.lines)))

    def _filled(self, lines: Lines) -> Lines:
        spec = self.declared.file(lines.file)
        said = {name: Filled((f"{spec.entity}.{name}",)) for name in self.more.get(spec.entity, ())}
        known = {name: filled for name, filled in (said | _CONTACT).items() if name in spec.known}
        return replace(lines, filled=lines.filled | known)


def _picked(topic: str, table: str) -> str:
    return f"(SELECT name FROM {table} WHERE number = choice('{topic}', person, {table}_count()))"


_OF_CLEVER: Records = {
    "organizations": {
        "School_number": "CAST(school + 1 AS VARCHAR)",
        "State_id": "'48' || school_id",
        "Low_grade": "CASE low_grade WHEN 0 THEN 'Kindergarten' ELSE CAST(low_grade AS VARCHAR) END",
        "High_grade": "CAST(high_grade AS VARCHAR)",
        "School_city": "'Demo'",
        "School_state": "'TX'",
    },
    "users": {
        "Gender": "['F', 'M', 'F', 'M', 'X'][1 + choice('gender', person, 5)]",
        "Home_language": _picked("language", "languages"),
        "Ell_status": "['Y', 'N', 'N', 'N'][1 + choice('ell', person, 4)]",
        "IEP_status": "['Y', 'N', 'N', 'N', 'N', 'N', 'N'][1 + choice('iep', person, 7)]",
        "Student_street": f"CAST(1 + choice('house', person, 999) AS VARCHAR) || ' ' || {_picked('street', 'streets')}",
        "Student_city": "'Demo'",
        "Student_state": "'TX'",
        "Contact_type": "'Family'",
        "Contact_name": f"{_picked('contact', 'given_names')} || ' ' || family",
        "Contact_phone": "'555-01' || lpad(CAST(choice('phone', person, 100) AS VARCHAR), 2, '0')",
        "Contact_sis_id": "'C' || id",
        "Department": "'Administration'",
        "Title": "title",
        "Password": f"'{PASSWORD}'",
    },
    "classes": {"Section_number": "CAST(section AS VARCHAR)"},
}


_NEWER = FORMATS["oneroster_1_2"]
_OLDER = replace(
    FORMATS["oneroster_1_1"],
    lines=tuple(lines for lines in _NEWER.lines if lines.file != "roles.csv"),
    spelt=_NEWER.spelt,
)
"""Everybody is in one school, so that what an export cannot say of several is not missed."""

LAYOUTS = {
    "batch_upload": Layout(FORMATS["batch_upload"], BATCH_UPLOAD_FAULTS, {"users": {"action": "NULL::VARCHAR"}}),
    "clever": Layout(FORMATS["clever"], CLEVER_FAULTS, _OF_CLEVER, second_contacts=True),
    "oneroster": Layout(_NEWER, ONEROSTER_1_2_FAULTS),
    "oneroster_1_1": Layout(_OLDER, ONEROSTER_1_1_FAULTS),
}
"""Name, as the command has it -> format."""
