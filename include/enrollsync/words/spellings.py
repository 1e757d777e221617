"""How deliveries spell what a roster says in few words: grades, roles, yes and no, kinds of records, statuses."""

from __future__ import annotations

from enrollsync.words.canonical import ENTITIES, GRADES, KINDS, STATUSES

_GRADE_SPELLINGS: dict[str, str] = {
    **{grade.lower(): grade for grade in GRADES},
    **{f"0{number}": str(number) for number in range(1, 10)},
    "it": "InfantToddler", "infant/toddler": "InfantToddler",
    "pr": "Preschool",
    "pk": "PreKindergarten", "prek": "PreKindergarten", "pre-k": "PreKindergarten", "-1": "PreKindergarten",
    "tk": "TransitionalKindergarten",
    "k": "Kindergarten", "kg": "Kindergarten", "0": "Kindergarten", "00": "Kindergarten",
    "ps": "PostGraduate", "pg": "PostGraduate",
    "ug": "Ungraded",
    "ot": "Other",
}  # fmt: skip
_FLAGS: dict[str, str] = {
    **dict.fromkeys(("y", "yes", "true", "t", "1"), "true"),
    **dict.fromkeys(("n", "no", "false", "f", "0"), "false"),
}
_ROLES: dict[str, str] = {role: role for role in KINDS}
_ENTITY_SPELLINGS: dict[str, str] = {
    spelling: entity.name for entity in ENTITIES if entity.key for spelling in (entity.singular, entity.name)
}
WORDS: dict[str, dict[str, str]] = {
    "grade": _GRADE_SPELLINGS,
    "flag": _FLAGS,
    "role": _ROLES,
    "entity": _ENTITY_SPELLINGS,
    "status": {status: status for status in STATUSES},
}
"""The program's own vocabularies: name -> spelling in lower case -> what is meant. A format may have others."""
