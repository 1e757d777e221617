"""Several districts in one PostgreSQL: the SQL by which each role sees its own district's rows and no others.

Printed for whoever runs the server, and run by nobody else. The server decides by the role that is logged in, never by
something that a session can set. Roles without a login have the rights; logins are made members of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from enrollsync.database.migrations import VERSION_TABLE
from enrollsync.database.schema import METADATA
from enrollsync.words.canonical import ENTITIES
from enrollsync.words.errors import ConfigurationError

TABLES = tuple(METADATA.tables)
"""Each has a `district_id`."""
VIEWS = (
    *(f"roster_{entity.name}" for entity in ENTITIES),
    "roster_identifier_history",
    "roster_runs",
    "roster_changes",
)
READER, WRITER, LOADER = "roster_reader", "roster_writer", "roster_loader"
"""The first two may read, or read and write, the rows of no district yet; the third may write those of all."""
_LONGEST_NAME = 63
"""Bytes; PostgreSQL would cut it."""


def role_of(district_id: str, kind: str) -> str:
    """The role of one district, whose `kind` is `reader` or `loader`; no other district's can be called so."""
    return f"roster:{district_id}:{kind}"


def sharing(district_ids: Iterable[str]) -> str:
    """A script that sets the rules for these districts, and leaves those of others alone; it may be run again.

    Raises ConfigurationError for a district whose role would have too long a name.
    """
    parts = [_BEGIN, _groups()]
    for district_id in district_ids:
        if len(role_of(district_id, "reader")) > _LONGEST_NAME:
            raise ConfigurationError(f"district {district_id}: its id is too long for the name of a role")
        parts.append(_district(district_id))
    return "\n".join([*parts, "COMMIT;", ""])


def dropping(district_ids: Iterable[str]) -> str:
    """A script that drops the roles of these districts and what rules speak of them."""
    lines = [_BEGIN]
    for district_id in district_ids:
        lines += [f"DROP POLICY IF EXISTS {_name(f'roster:{district_id}')} ON {table};" for table in TABLES]
        roles = (role_of(district_id, kind) for kind in ("reader", "loader"))
        lines.append(f"DROP ROLE IF EXISTS {_all(map(_name, roles))};")
    return "\n".join([*lines, "COMMIT;", ""])


def no_sharing() -> str:
    """A script that takes all rules away; the roles stay, without rights."""
    lines = [_BEGIN, *(f"REVOKE ALL ON {_all(TABLES + VIEWS)} FROM {READER}, {WRITER};",)]
    lines += [f"ALTER VIEW {view} RESET (security_invoker);" for view in VIEWS]
    lines += [f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;" for table in TABLES]
    return "\n".join([*lines, _DROP_POLICIES, "COMMIT;", ""])


_BEGIN = """BEGIN;
SET LOCAL lock_timeout = '30s';
DO $$
BEGIN
    IF current_setting('server_version_num')::int < 150000 THEN
        RAISE EXCEPTION 'PostgreSQL 15 or newer is needed: views of older ones show every district to whoever may read '
            'them; give each district a database of its own';
    END IF;
END $$;"""

_DROP_POLICIES = """DO $$
DECLARE
    policy record;
BEGIN
    FOR policy IN
        SELECT polname, polrelid::regclass AS place
        FROM pg_policy
        WHERE polname = 'roster_loader' OR polname LIKE 'roster:%'
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy.polname, policy.place);
    END LOOP;
END $$;"""

_SCHEMA_AND_DATABASE = f"""DO $$
DECLARE
    place text := (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = 'users'::regclass);
BEGIN
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', place);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO {READER}, {WRITER}', place);
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {WRITER}', current_database());
END $$;"""


def _groups() -> str:
    """What all districts have in common."""
    every = _all((*TABLES, *VIEWS, VERSION_TABLE))
    lines = [
        *map(_role, (READER, WRITER, LOADER)),
        _SCHEMA_AND_DATABASE,
        f"GRANT SELECT ON {every} TO {READER}, {WRITER};",
        f"GRANT INSERT, UPDATE, DELETE ON {_all(TABLES)} TO {WRITER};",
        f"GRANT {WRITER} TO {LOADER};",
        *(f"ALTER VIEW {view} SET (security_invoker = true);" for view in VIEWS),
        *(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;" for table in TABLES),
        *_policies(LOADER, (LOADER,), "true"),
    ]
    return "\n".join(lines)


def _district(district_id: str) -> str:
    reader, loader = (role_of(district_id, kind) for kind in ("reader", "loader"))
    own = f"district_id = {_text(district_id)}"
    lines = [
        _role(reader),
        _role(loader),
        f"GRANT {READER} TO {_name(reader)};",
        f"GRANT {WRITER} TO {_name(loader)};",
        *_policies(f"roster:{district_id}", (reader, loader), own),
    ]
    return "\n".join(lines)


def _policies(name: str, roles: Iterable[str], condition: str) -> Iterator[str]:
    to = ", ".join(map(_name, roles))
    for table in TABLES:
        yield f"DROP POLICY IF EXISTS {_name(name)} ON {table};"
        yield f"CREATE POLICY {_name(name)} ON {table} TO {to} USING ({condition}) WITH CHECK ({condition});"


def _role(name: str) -> str:
    """Make it where it is missing; several databases of one server share their roles."""
    return f"""DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {_text(name)}) THEN
        CREATE ROLE {_name(name)} NOLOGIN;
    END IF;
END $$;"""


def _all(names: Iterable[str]) -> str:
    return ", ".join(names)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
