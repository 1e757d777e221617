"""In which organization a finding is to be mended: that of its row, else of the row's class, else of its person.

A row that names none, such as an enrollment or a rejected line, is placed by the other rows of its class or person,
by what else stands on its line, and in the end by the roster. Begins with the findings, which are few, and looks at no
more of the delivery than they name. What only waits for another row is mended there, and left out.
"""

from __future__ import annotations

import duckdb

from enrollsync.database.schema import FoundInSchools
from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.validate.consequences import WAITS
from enrollsync.words.canonical import BY_NAME, CLASSES, ENTITIES, MEMBERSHIPS, USERS, Entity
from enrollsync.words.codes import Severity

_PLACED = frozenset(entity.name for entity in ENTITIES)
_MALFORMED = "ROW-MALFORMED"
"""Of such a line nothing is known but the file."""


def find_in_schools(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> FoundInSchools:
    """Count the findings of the rows of each organization; one that concerns several counts in each of them.

    `plan/school_findings.parquet` tells them one by one, advice left out: `organization_key, severity, code, entity,
    file, line, column, message`, and whom the row speaks of: `name, identifier` of the person or else the class,
    `class_id` beside a person. It is made anew, and lies in the order of the organizations.
    """
    connection.execute(_found(workspace))
    kinds = "SELECT DISTINCT entity, row_id IS NULL FROM found WHERE row_id IS NOT NULL OR code <> $malformed"
    asked = connection.execute(kinds, {"malformed": _MALFORMED}).fetchall()
    rows = [_rows(BY_NAME[entity], workspace, by_line=by_line) for entity, by_line in asked if entity in _PLACED]
    if not rows:
        workspace.school_findings.unlink(missing_ok=True)
        return {}
    connection.execute(f"CREATE TABLE found_rows AS {' UNION ALL '.join(rows)}")
    connection.execute(_places(workspace))
    engine.write_parquet(connection, _told(workspace), workspace.school_findings)
    counted: FoundInSchools = {}
    for code, key, number in connection.execute(_COUNTED).fetchall():
        counted.setdefault(code, {})[str(key)] = number
    return counted


_COUNTED = """
    SELECT code, organization_key, count(*)
    FROM found_in
    JOIN found USING (number)
    GROUP BY ALL
    ORDER BY ALL"""
_ASKED = ("organization_source_key", "class_source_key", "user_source_key", "user_id", "given_name", "family_name",
          "class_id")  # fmt: skip
"""The columns of `found_rows` besides the number."""


def _said(entity: Entity) -> dict[str, str]:
    """Column of `found_rows` -> column of the entity's rows."""
    own = {f"{entity.singular}_source_key": "source_key"} if entity.key else {}
    return own | {name: name for name in entity.columns if name in _ASKED}


def _found(workspace: Workspace) -> str:
    return f"""
        CREATE TABLE found AS
        SELECT row_number() OVER () AS number, code, severity, entity, row_id, file, line, "column" AS field, message
        FROM {engine.parquet(workspace.findings)}
        WHERE line IS NOT NULL AND code <> '{WAITS}'"""


def _rows(entity: Entity, workspace: Workspace, *, by_line: bool) -> str:
    """What the rows say on which something was found; the plan's own findings know their row by its line."""
    names = _said(entity)
    told = ", ".join(
        f"said.{names[name]} AS {name}" if name in names else f"NULL::VARCHAR AS {name}" for name in _ASKED
    )
    table = engine.parquet(workspace.canonical_table(entity.name))
    if by_line:
        rows = f"(SELECT * EXCLUDE (row_id, line), unnest(lines) AS line FROM {table})"
        same = "(file, line)"
    else:
        rows, same = table, "(row_id)"
    return f"""
        SELECT number, {told}
        FROM found
        JOIN {rows} AS said USING {same}
        WHERE found.entity = '{entity.name}' AND row_id IS {"" if by_line else "NOT "}NULL"""


def _places(workspace: Workspace) -> str:
    memberships, classes = (engine.parquet(workspace.canonical_table(one.name)) for one in (MEMBERSHIPS, CLASSES))
    return f"""
        CREATE TABLE found_in AS
        WITH own AS (
            SELECT number, organization_source_key FROM found_rows WHERE organization_source_key IS NOT NULL
        ),
        of_class AS (
            SELECT number, class.organization_source_key
            FROM found_rows
            ANTI JOIN own USING (number)
            JOIN {classes} AS class ON class.source_key = class_source_key
            WHERE class.organization_source_key IS NOT NULL
        ),
        unplaced AS (
            SELECT found_rows.*, file, line
            FROM found_rows
            JOIN found USING (number)
            ANTI JOIN own USING (number)
            ANTI JOIN of_class USING (number)
        ),
        members AS (
            SELECT user_source_key, organization_source_key, file, unnest(lines) AS line
            FROM {memberships}
            WHERE organization_source_key IS NOT NULL
                AND (user_source_key IS NULL OR user_source_key IN (SELECT user_source_key FROM unplaced))
        ),
        of_line AS (
            SELECT number, members.organization_source_key
            FROM unplaced
            JOIN members USING (file, line)
            WHERE members.user_source_key IS NOT DISTINCT FROM unplaced.user_source_key
        ),
        of_person AS (
            SELECT number, members.organization_source_key
            FROM unplaced
            ANTI JOIN of_line USING (number)
            JOIN members USING (user_source_key)
        ),
        said AS (FROM own UNION FROM of_class UNION FROM of_line UNION FROM of_person),
        stored AS (
            SELECT number, organization_key
            FROM found_rows
            ANTI JOIN said USING (number)
            JOIN classes_lookup AS known ON known.source_key = class_source_key
            JOIN db_classes ON class_key = key
            UNION
            SELECT number, organization_key
            FROM found_rows
            ANTI JOIN said USING (number)
            JOIN users_lookup AS known ON known.source_key = user_source_key
            JOIN db_memberships AS member ON member.user_key = key AND member.is_primary AND member.status = 'active'
        )
        SELECT number, key AS organization_key
        FROM said
        JOIN organizations_lookup AS known ON known.source_key = said.organization_source_key
        UNION
        SELECT number, organization_key
        FROM stored
        WHERE organization_key IS NOT NULL"""


def _told(workspace: Workspace) -> str:
    """A person is named as the row itself does, or as all rows of that source key do alike."""
    users, classes = (engine.parquet(workspace.canonical_table(one.name)) for one in (USERS, CLASSES))
    return f"""
        WITH people AS (
            SELECT source_key, min(user_id) AS user_id, min(concat_ws(' ', given_name, family_name)) AS name
            FROM {users}
            WHERE source_key IN (SELECT user_source_key FROM found_rows WHERE given_name IS NULL)
            GROUP BY source_key
            HAVING count(DISTINCT concat_ws(' ', given_name, family_name)) = 1
        ),
        named_classes AS (
            SELECT source_key, min(class_id) AS class_id, min(name) AS name
            FROM {classes}
            WHERE source_key IN (SELECT class_source_key FROM found_rows)
            GROUP BY source_key
        ),
        whom AS (
            SELECT DISTINCT ON (number) number, user_source_key IS NOT NULL OR given_name IS NOT NULL AS is_person,
                coalesce(nullif(concat_ws(' ', said.given_name, said.family_name), ''), people.name) AS person,
                coalesce(said.user_id, people.user_id, {engine.without_kind("user_source_key")}) AS user_id,
                named_classes.name AS class_name,
                coalesce(said.class_id, named_classes.class_id, class_source_key) AS class_id
            FROM found_rows AS said
            LEFT JOIN people ON people.source_key = user_source_key
            LEFT JOIN named_classes ON named_classes.source_key = class_source_key
        )
        SELECT organization_key, severity, code, entity, file, line, field AS "column", message,
            CASE WHEN is_person THEN person ELSE class_name END AS name,
            CASE WHEN is_person THEN whom.user_id ELSE whom.class_id END AS identifier,
            CASE WHEN is_person THEN whom.class_id END AS class_id
        FROM found_in
        JOIN found USING (number)
        JOIN whom USING (number)
        WHERE severity <> '{Severity.INFO}'
        ORDER BY organization_key, list_position(['critical', 'warning'], severity), code, file, line"""
