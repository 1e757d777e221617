"""Of which records a row may speak that does not load: what is present but invalid is not absent (section 6).

Leaves for each entity `<entity>_doubtful` (keys of what a rejected line may mean), for links `<entity>_spoken_of`
(those that a row names which is not planned as it stands), and for records `<entity>_ever` (every source key they ever
had). What is spared because of it is decided in `absence.py`.
"""

from __future__ import annotations

import duckdb

from enrollsync import engine
from enrollsync.canonical import BY_NAME, ENTITIES, ID_CHANGES, KIND_PREFIXES, Entity
from enrollsync.database.schema import primary_key
from enrollsync.workspace import Workspace


def find_doubtful(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Create the tables and views above, once all rows are matched."""
    for entity in ENTITIES:
        connection.execute(_ever(entity) if entity.key else _spoken_of(entity))
    rejected = _rejected_lines(connection, workspace)
    connection.execute(_doubtful_words(workspace) if rejected else _nothing_doubtful())


def _rejected_lines(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> int:
    query = f"SELECT count(*) FROM {engine.parquet(workspace.accepted_table('rejected'))}"
    return int(engine.one_row(connection, query)[0])


def _doubtful_words(workspace: Workspace) -> str:
    """The words on lines that were rejected, and the records of the database that one of these lines may mean.

    A damaged line may have lost its identifier, so names, emails and secondary IDs speak for a record too.
    """
    doubtful = "\n".join(_doubtful(entity) for entity in ENTITIES)
    return f"""
        CREATE TABLE words AS
        SELECT DISTINCT entity, file, line, lower(trim(word, ' "')) AS word
        FROM (
            SELECT entity, file, line,
                unnest(string_split(raw, ',') || regexp_split_to_array(raw, '[,;\\s"]+')) AS word
            FROM {engine.parquet(workspace.accepted_table("rejected"))}
        );
        {doubtful}"""


def _nothing_doubtful() -> str:
    return "".join(
        f"CREATE TABLE {entity.name}_doubtful ({', '.join(f'{key} BIGINT' for key in primary_key(entity))});"
        for entity in ENTITIES
    )


def _doubtful(entity: Entity) -> str:
    if entity.key is None:
        return _doubtful_links(entity)
    signs = [f"lower(old.{entity.identifier})", f"lower({engine.without_kind('old.source_key')})"]
    if entity.name == "users":
        signs += ["lower(old.email)", "lower(old.user_district_id)", "lower(old.user_state_id)"]
    by_sign = " UNION ".join(
        f"SELECT {entity.key} FROM db_{entity.name} AS old JOIN words ON words.word = {sign} "
        f"AND words.entity IN ('{entity.name}', '{ID_CHANGES.name}'){_not_a_school(entity)}"
        for sign in signs
    )
    by_name = _named_on_one_line() if entity.name == "users" else ""
    return f"CREATE TABLE {entity.name}_doubtful AS {by_sign}{by_name};"


def _not_a_school(entity: Entity) -> str:
    """A school's identifier stands on every line of its people, and may be a person's too: it speaks for the school."""
    if entity.name == "organizations":
        return ""
    return " AND words.word NOT IN (SELECT lower(organization_id) FROM db_organizations WHERE organization_id NOT NULL)"


def _named_on_one_line() -> str:
    return """
            UNION
            SELECT user_key
            FROM db_users AS old
            JOIN words AS given ON given.word = lower(old.given_name) AND given.entity = 'users'
            JOIN words AS family ON family.word = lower(old.family_name) AND family.entity = 'users'
                AND family.file = given.file AND family.line = given.line"""


def _doubtful_links(entity: Entity) -> str:
    """A link is doubtful when one rejected line names both of its ends."""
    spoken = ",".join(_spoken(entity, target) for target in entity.links.values())
    first, second = entity.links.values()
    keys = ", ".join(primary_key(entity))
    return f"""
        CREATE TABLE {entity.name}_doubtful AS
        WITH {spoken}
        SELECT DISTINCT {keys}
        FROM {first}_spoken
        JOIN {second}_spoken USING (file, line)
        JOIN db_{entity.name} USING ({keys});"""


def _spoken(entity: Entity, target: str) -> str:
    """Which records of `target` the rejected lines of a kind of link name, by identifier or source key."""
    linked = BY_NAME[target]
    return f"""
        {target}_spoken AS (
            SELECT file, line, said.{linked.key}
            FROM words
            JOIN (
                SELECT {linked.key}, lower({linked.identifier}) AS word
                FROM db_{target}
                UNION
                SELECT {linked.key}, lower({engine.without_kind(f"db_{target}.source_key")})
                FROM db_{target}
            ) AS said USING (word)
            WHERE words.entity = '{entity.name}'
        )"""


def _spoken_of(entity: Entity) -> str:
    """Links of which a row speaks that is not planned as it stands, by any identifier their ends ever had."""
    links = ", ".join(entity.links)
    joins = "".join(
        f"""
        JOIN {target}_ever ON {target}_ever.source_key = unplanned.{link}"""
        for link, target in entity.links.items()
    )
    found = ", ".join(f"{target}_ever.key AS {BY_NAME[target].key}" for target in entity.links.values())
    return f"""
        CREATE TABLE {entity.name}_spoken_of AS
        WITH unplanned AS (
            SELECT {links} FROM {entity.name}_set_aside
            UNION
            SELECT {links} FROM {entity.name}_unlinked
        )
        SELECT {found}
        FROM unplanned{joins}"""


def _ever(entity: Entity) -> str:
    """Source key -> key, earlier identifiers included: a row may still say the old one while another says the new."""
    kinds = KIND_PREFIXES if entity.name == "users" else ()
    earlier = "".join(
        f"""
        UNION
        SELECT '{kind}' || old_id, entity_key
        FROM stored_history
        WHERE entity = '{entity.name}'"""
        for kind in ("", *kinds)
    )
    return f"""
        CREATE VIEW {entity.name}_ever AS
        SELECT source_key, key
        FROM {entity.name}_keys
        UNION
        SELECT source_key, key
        FROM {entity.name}_renames
        WHERE key IS NOT NULL{earlier};"""
