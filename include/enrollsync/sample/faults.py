"""The table of faults that a dirty sample may hold, for each format, and what a run must say about each.

Data only: `dirt.py` decides on which lines they are planted. A fault must cause no finding but its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from enrollsync.sample.edited import Damage


class Reach(StrEnum):
    """Which lines of a person a fault changes, and on which it is reported."""

    LINE = "line"
    """Some of a person's lines are changed; those are reported."""
    ODD_LINE = "odd line"
    """One of a person's lines is changed; as it disagrees with the others, all of them are reported."""
    PERSON = "person"
    """All lines of a person are changed and reported."""
    PAIR = "pair"
    """All lines of one person are changed to resemble another's; all lines of both are reported."""

    @property
    def people(self) -> int:
        """How many people one such fault takes."""
        return 2 if self is Reach.PAIR else 1


STUDENTS = "role = 'student'"
TEACHERS = "role = 'teacher'"
WITH_MIDDLE_NAME = "role = 'student' AND middle <> ''"
WITH_LETTER = "role = 'student' AND id[1] = 'S'"


@dataclass(frozen=True)
class Fault:
    """One kind of fault: the finding it must lead to, and how it is made."""

    code: str
    file: str
    entity: str
    column: str | None
    """The column that the finding names, as the file spells it; None: the whole line."""
    effect: str
    """What does not load: `line`, `record`, `value` (the old one stays), `cleared` or `none`."""
    share: int
    """Its weight among the faults of its file."""
    value: str = "NULL"
    """SQL of what is written instead; it may name the `person` changed, the `other` of a pair, the line's `class`."""
    changes: str | None = None
    """The column changed, where that is not `column`."""
    damage: Damage | None = None
    """Set: the line itself is broken, no value is changed."""
    reach: Reach = Reach.LINE
    among: str = STUDENTS
    """SQL condition on the people it can befall."""
    brings: tuple[Fault, ...] = ()
    """What is reported besides on all lines of the person in some file: that nobody knows whom they speak of, or so.
    These bring nothing themselves."""

    @property
    def changed_column(self) -> str | None:
        """The column that gets another value; None for a broken line."""
        return None if self.damage else self.changes or self.column


CONTROL_CHARACTER = "person.given || chr(CASE person.person % 2 WHEN 0 THEN 0 ELSE 7 END)"
BLANK_INSIDE = "person.id[1:3] || ' ' || person.id[4:]"
MARK_INSIDE = "person.id[1:4] || '!' || person.id[5:]"
BLANKS_AROUND = "'  ' || person.id || ' '"
SOCIAL_SECURITY_NUMBER = (
    "CAST(((100 + person.person % 500) * 100 + 10 + person.person // 500 % 90) * 10000"
    " + 1000 + person.person // 45000 % 9000 AS VARCHAR)"
)
"""Area 100 to 599, group 10 to 99, serial from 1000: plausible, and one for each person."""
NO_AT_SIGN = "replace(person.email, '@', '.at.')"
OTHER_GRADE = "CASE person.grade WHEN 3 THEN '4' ELSE '3' END"
OTHER_GIVEN_NAME = "CASE person.given WHEN 'Zuri' THEN 'Noah' ELSE 'Zuri' END"
OTHER_MIDDLE_NAME = "CASE person.middle WHEN 'Quinn' THEN 'Riley' ELSE 'Quinn' END"

_USERS = "users.csv"
BATCH_UPLOAD_FAULTS = (
    Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.CUT),
    Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.SURPLUS),
    Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.QUOTE),
    Fault("ROW-MALFORMED", _USERS, "users", None, "line", 2, CONTROL_CHARACTER, changes="userFirstName"),
    Fault("ID-MISSING", _USERS, "users", "userId", "line", 6),
    Fault("ID-MISSING", _USERS, "organizations", "schoolId", "line", 4),
    Fault("ID-MISSING", _USERS, "classes", "classId", "line", 4),
    Fault("ID-MISSING", _USERS, "classes", "classId", "line", 1, among=TEACHERS),
    Fault("ID-CHARSET", _USERS, "users", "userId", "line", 4, BLANK_INSIDE),
    Fault("ID-CHARSET", _USERS, "users", "userId", "line", 4, MARK_INSIDE),
    Fault("ID-SSN", _USERS, "users", "userId", "none", 6, SOCIAL_SECURITY_NUMBER, reach=Reach.PERSON),
    Fault(
        "ID-DUPLICATE", _USERS, "users", "userId", "line", 6, OTHER_GIVEN_NAME,
        changes="userFirstName", reach=Reach.ODD_LINE,
    ),
    Fault("ID-CASE", _USERS, "users", "userId", "none", 4, "lower(other.id)", reach=Reach.PAIR, among=WITH_LETTER),
    Fault("VAL-TRIMMED", _USERS, "users", "userId", "none", 6, BLANKS_AROUND),
    Fault("VAL-MISSING", _USERS, "users", "userFirstName", "line", 3),
    Fault("VAL-MISSING", _USERS, "users", "userLastName", "line", 3),
    Fault("VAL-ACTION", _USERS, "classes", "action", "line", 3, "'DELETE-ALL'"),
    Fault("VAL-ACTION", _USERS, "users", "userRole", "line", 3, "'pupil'"),
    Fault("VAL-INVALID", _USERS, "users", "userGrade", "value", 4, "'grade five'"),
    Fault("VAL-INVALID", _USERS, "users", "userBirthDate", "value", 4, "'31/31/2015'"),
    Fault("VAL-INVALID", _USERS, "classes", "classGrade", "value", 3, "'fifth'"),
    Fault("VAL-CONFLICT", _USERS, "users", "userGrade", "none", 4, OTHER_GRADE, reach=Reach.ODD_LINE),
    Fault(
        "VAL-CONFLICT", _USERS, "users", "userMiddleName", "none", 4, OTHER_MIDDLE_NAME,
        reach=Reach.ODD_LINE, among=WITH_MIDDLE_NAME,
    ),
    Fault("VAL-EMAIL", _USERS, "users", "userEmail", "none", 5, NO_AT_SIGN, reach=Reach.PERSON),
    Fault("VAL-EMAIL-DUPLICATE", _USERS, "users", "userEmail", "none", 5, "upper(other.email)", reach=Reach.PAIR),
    Fault(
        "VAL-EMAIL-DUPLICATE", _USERS, "users", "userEmail", "none", 1, "upper(other.email)",
        reach=Reach.PAIR, among=TEACHERS,
    ),
    Fault("SEC-DUPLICATE", _USERS, "users", "userDistrictId", "cleared", 3, "other.district_id", reach=Reach.PAIR),
    Fault("SEC-DUPLICATE", _USERS, "users", "userStateId", "cleared", 3, "other.state_id", reach=Reach.PAIR),
)  # fmt: skip

_STUDENTS, _ENROLLMENTS = "students.csv", "enrollments.csv"
_LOST = (Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "Student_id", "record", 0),)
"""A student who cannot be read is known to none of their enrollments."""
CLEVER_FAULTS = (
    Fault("ROW-MALFORMED", _STUDENTS, "users", None, "line", 3, damage=Damage.CUT, brings=_LOST),
    Fault("ROW-MALFORMED", _STUDENTS, "users", None, "line", 3, damage=Damage.SURPLUS, brings=_LOST),
    Fault("ROW-MALFORMED", _STUDENTS, "users", None, "line", 3, damage=Damage.QUOTE, brings=_LOST),
    Fault("ROW-MALFORMED", _STUDENTS, "users", None, "line", 2, CONTROL_CHARACTER, changes="First_name", brings=_LOST),
    Fault("ID-MISSING", _STUDENTS, "users", "Student_id", "line", 6, brings=_LOST),
    Fault("ID-CHARSET", _STUDENTS, "users", "Student_id", "line", 4, BLANK_INSIDE, brings=_LOST),
    Fault("ID-CHARSET", _STUDENTS, "users", "Student_id", "line", 4, MARK_INSIDE, brings=_LOST),
    Fault("ID-DUPLICATE", _STUDENTS, "users", "Student_id", "line", 6, "other.id", reach=Reach.PAIR, brings=_LOST),
    Fault("VAL-TRIMMED", _STUDENTS, "users", "Student_id", "none", 6, BLANKS_AROUND),
    Fault("VAL-MISSING", _STUDENTS, "users", "First_name", "line", 3),
    Fault("VAL-MISSING", _STUDENTS, "users", "Last_name", "line", 3),
    Fault("VAL-INVALID", _STUDENTS, "users", "Grade", "value", 4, "'grade five'"),
    Fault("VAL-INVALID", _STUDENTS, "users", "DOB", "value", 4, "'31/31/2015'"),
    Fault("VAL-EMAIL", _STUDENTS, "users", "Student_email", "none", 6, NO_AT_SIGN),
    Fault(
        "VAL-EMAIL-DUPLICATE", _STUDENTS, "users", "Student_email", "none", 6, "upper(other.email)", reach=Reach.PAIR
    ),
    Fault("SEC-DUPLICATE", _STUDENTS, "users", "Student_number", "cleared", 3, "other.district_id", reach=Reach.PAIR),
    Fault("SEC-DUPLICATE", _STUDENTS, "users", "State_id", "cleared", 3, "other.state_id", reach=Reach.PAIR),
    Fault("REF-UNKNOWN", _STUDENTS, "memberships", "School_id", "record", 6, "'9999'"),
    Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.CUT),
    Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.SURPLUS),
    Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.QUOTE),
    Fault(
        "ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 2, "class.class_id || chr(0)", changes="Section_id"
    ),
    Fault("ID-MISSING", _ENROLLMENTS, "enrollments", "Section_id", "line", 6),
    Fault("ID-MISSING", _ENROLLMENTS, "enrollments", "Student_id", "line", 6),
    Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "Section_id", "record", 6, "class.class_id || 'X'"),
    Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "Student_id", "record", 6, "person.id || 'X'"),
)  # fmt: skip

_ROLES = "roles.csv"
_NOT_ENROLLED = (Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "userSourcedId", "record", 0),)
_NO_MEMBER = (Fault("REF-UNKNOWN", _ROLES, "memberships", "userSourcedId", "record", 0),)
_NO_ROLE = (
    Fault("REF-UNKNOWN", _USERS, "users", "sourcedId", "record", 0),
    Fault("VAL-MISSING", _USERS, "users", "sourcedId", "line", 0),
)
"""In 1.2 somebody has the role that is said in the other file."""


def _of_oneroster(lost: tuple[Fault, ...], no_role: tuple[Fault, ...] = ()) -> tuple[Fault, ...]:
    """What both versions can hold.

    `lost`: what is reported besides of somebody who cannot be read. `no_role`: that no role is found under a key; under
    none at all nothing is looked for, and the last of these is reported.
    """
    return (
        Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.CUT, brings=lost),
        Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.SURPLUS, brings=lost),
        Fault("ROW-MALFORMED", _USERS, "users", None, "line", 3, damage=Damage.QUOTE, brings=lost),
        Fault("ROW-MALFORMED", _USERS, "users", None, "line", 2, CONTROL_CHARACTER, "givenName", brings=lost),
        Fault("ID-MISSING", _USERS, "users", "sourcedId", "line", 6, brings=lost + no_role[-1:]),
        Fault("ID-CHARSET", _USERS, "users", "sourcedId", "line", 4, BLANK_INSIDE, brings=lost + no_role),
        Fault("ID-CHARSET", _USERS, "users", "sourcedId", "line", 4, MARK_INSIDE, brings=lost + no_role),
        Fault("ID-DUPLICATE", _USERS, "users", "sourcedId", "line", 6, "other.id", reach=Reach.PAIR, brings=lost),
        Fault("VAL-TRIMMED", _USERS, "users", "sourcedId", "none", 6, BLANKS_AROUND),
        Fault("VAL-MISSING", _USERS, "users", "givenName", "line", 3),
        Fault("VAL-MISSING", _USERS, "users", "familyName", "line", 3),
        Fault("VAL-INVALID", _USERS, "users", "grades", "value", 4, "'grade five'"),
        Fault("VAL-INVALID", _USERS, "users", "enabledUser", "value", 4, "'perhaps'"),
        Fault("VAL-EMAIL", _USERS, "users", "email", "none", 6, NO_AT_SIGN),
        Fault("VAL-EMAIL-DUPLICATE", _USERS, "users", "email", "none", 6, "upper(other.email)", reach=Reach.PAIR),
        Fault("SEC-DUPLICATE", _USERS, "users", "identifier", "cleared", 3, "other.district_id", reach=Reach.PAIR),
        Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.CUT),
        Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.SURPLUS),
        Fault("ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 3, damage=Damage.QUOTE),
        Fault(
            "ROW-MALFORMED", _ENROLLMENTS, "enrollments", None, "line", 2, "class.class_id || chr(0)", "classSourcedId"
        ),
        Fault("ID-MISSING", _ENROLLMENTS, "enrollments", "classSourcedId", "line", 6),
        Fault("ID-MISSING", _ENROLLMENTS, "enrollments", "userSourcedId", "line", 6),
        Fault("VAL-ACTION", _ENROLLMENTS, "enrollments", "role", "line", 3, "'pupil'"),
        Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "classSourcedId", "record", 6, "class.class_id || 'X'"),
        Fault("REF-UNKNOWN", _ENROLLMENTS, "enrollments", "userSourcedId", "record", 6, "person.id || 'X'"),
    )


ONEROSTER_1_1_FAULTS = (
    *_of_oneroster(_NOT_ENROLLED),
    Fault("VAL-ACTION", _USERS, "users", "role", "line", 3, "'pupil'"),
    Fault("REF-UNKNOWN", _USERS, "memberships", "orgSourcedIds", "record", 6, "'9999'"),
)
ONEROSTER_1_2_FAULTS = (
    *_of_oneroster((*_NO_MEMBER, *_NOT_ENROLLED), _NO_ROLE),
    Fault("ROW-MALFORMED", _ROLES, "memberships", None, "line", 3, damage=Damage.CUT, brings=_NO_ROLE),
    Fault("ROW-MALFORMED", _ROLES, "memberships", None, "line", 3, damage=Damage.SURPLUS, brings=_NO_ROLE),
    Fault("ROW-MALFORMED", _ROLES, "memberships", None, "line", 3, damage=Damage.QUOTE, brings=_NO_ROLE),
    Fault(
        "ROW-MALFORMED", _ROLES, "memberships", None, "line", 2, "person.id || chr(0)", "userSourcedId",
        brings=_NO_ROLE,
    ),
    Fault("ID-MISSING", _ROLES, "memberships", "userSourcedId", "line", 6, brings=_NO_ROLE),
    Fault(
        "VAL-ACTION", _ROLES, "memberships", "role", "line", 3, "'pupil'",
        brings=(Fault("VAL-ACTION", _USERS, "users", "sourcedId", "line", 0),),
    ),
    Fault("REF-UNKNOWN", _ROLES, "memberships", "orgSourcedId", "record", 6, "'9999'"),
    Fault("REF-UNKNOWN", _ROLES, "memberships", "orgSourcedId", "record", 2),
)  # fmt: skip
