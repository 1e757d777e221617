"""Other words that exports head their columns with, in English, Spanish, French and German.

Canonical column -> words, however they are spelt (case and blanks aside). A column that several entities have stands
under `entity.column`.
"""

from __future__ import annotations

_PERSON = (
    "student number", "student no", "student id", "pupil id", "person id", "local id", "sis id", "employee id",
    "staff id", "número de estudiante", "numéro d'élève", "schülernummer", "schüler id",
)  # fmt: skip
_SCHOOL = (
    "school number", "school code", "school id", "building", "building code", "building id", "campus id",
    "código de escuela", "code école", "schulnummer", "schul id",
)  # fmt: skip
_SECTION = (
    "section", "section number", "section id", "class code", "course section", "id de clase", "id de classe",
    "klassen id",
)  # fmt: skip

SYNONYMS: dict[str, tuple[str, ...]] = {
    "users.user_id": _PERSON,
    "users.source_key": _PERSON,
    "user_source_key": _PERSON,
    "user_district_id": ("district id", "district student id"),
    "user_state_id": ("state id", "ssid", "state student id", "statewide id"),
    "users.role": ("type", "user type", "person type", "position", "rol", "tipo", "rôle", "rolle"),
    "given_name": ("first name", "forename", "first", "legal first name", "nombre", "prénom", "vorname"),
    "middle_name": ("middle", "middle initial", "segundo nombre", "deuxième prénom", "zweiter vorname"),
    "family_name": (
        "last name", "surname", "last", "legal last name", "apellido", "apellidos", "nom", "nom de famille",
        "nachname", "familienname",
    ),
    "email": (
        "email", "mail", "email address", "correo", "correo electrónico", "courriel", "adresse e-mail",
        "e-mail-adresse",
    ),
    "username": ("user name", "login", "login id", "usuario", "identifiant", "benutzername"),
    "users.grade": ("grade", "grade level", "year", "year group", "grado", "curso", "niveau", "jahrgang"),
    "birth_date": (
        "birth date", "date of birth", "birthday", "dob", "fecha de nacimiento", "date de naissance", "geburtsdatum",
    ),
    "organization_source_key": _SCHOOL,
    "organizations.source_key": _SCHOOL,
    "organizations.organization_id": _SCHOOL,
    "organizations.name": (
        "school", "building name", "campus", "campus name", "escuela", "nombre de escuela", "école",
        "nom de l'école", "schule", "schulname",
    ),
    "class_source_key": _SECTION,
    "classes.source_key": _SECTION,
    "classes.class_id": _SECTION,
    "classes.name": (
        "class", "course title", "section name", "clase", "nombre de clase", "classe", "nom de classe", "klasse",
        "klassenname",
    ),
}  # fmt: skip
