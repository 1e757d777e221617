"""Of which records a row may speak that does not load: what is present but invalid is not absent (section 6).

What is spared because of it is decided in `absence.py`.
"""

from __future__ import annotations

import string

import duckdb

from enrollsync.database.schema import primary_key, record_keys
from enrollsync.plan.reconcile.tables import empty
from enrollsync.run import engine
from enrollsync.run.workspace import Workspace
from enrollsync.words.canonical import BY_NAME, ENTITIES, ID_CHANGES, KIND_PREFIXES, ORGANIZATIONS, USERS, Entity


def find_doubtful(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> None:
    """Create the tables and views above, once all rows are matched."""
    for entity in ENTITIES:
        connection.execute(_lookup_with_history(entity) if entity.key else _unplanned_pairs(entity))
    rejected = _rejected_lines(connection, workspace)
    connection.execute(_doubtful_words(workspace) if rejected else _nothing_doubtful())


def _rejected_lines(connection: duckdb.DuckDBPyConnection, workspace: Workspace) -> int:
    query = f"SELECT count(*) FROM {engine.parquet(workspace.accepted_table('rejected'))}"
    return int(engine.one_row(connection, query)[0])


def _doubtful_words(workspace: Workspace) -> str:
    """The words on lines that were rejected, and the records of the database that one of these lines may mean.

    Damage is often invisible, so both sides are compared as `engine.folded` has them. A damaged line may have lost its
    identifier, so names, emails and secondary IDs speak for a record too.
    """
    meant = "\n".join(_word_hits(entity) for entity in ENTITIES if entity.key)
    doubtful = "\n".join(_doubtful(entity) for entity in ENTITIES)
    return f"""
        CREATE TABLE rejected_texts AS
        SELECT entity, file, line,
            string_split(raw, ',') || regexp_split_to_array(raw, '[,;\\s"]+') AS words
        FROM (
            SELECT entity, file, line, {_both_widths("raw")} AS raw
            FROM {engine.parquet(workspace.accepted_table("rejected"))}
        );
        CREATE TABLE rejected_words AS
        SELECT DISTINCT entity, file, line, trim({engine.folded("word")}, '"') AS word
        FROM (SELECT entity, file, line, unnest(words) AS word FROM rejected_texts);
        {meant}
        {doubtful}"""


def _both_widths(text: str) -> str:
    """SQL for a text and, after a comma, the same with full-width letters and digits (`Ｃ１`) as plain ones."""
    narrow = string.ascii_letters + string.digits
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in narrow)
    # Translating is slow, and most lines have nothing but ASCII.
    return (
        f"CASE WHEN strlen({text}) = length({text}) THEN {text} "
        f"ELSE concat_ws(',', {text}, translate({text}, '{wide}', '{narrow}')) END"
    )


def _word_hits(entity: Entity) -> str:
    """Which records the words may mean: the key, and which word stands where, on a line of which entity."""
    own = [f"old.{name}" for name in entity.of_kind("identifier", "secondary", "email")]
    signs = [*own, engine.without_kind("old.source_key")]
    key, merged = str(entity.key), ""
    if entity is USERS:
        key, merged = (
            "coalesce(into_key, user_key) AS user_key",
            "\n            LEFT JOIN stored_merges USING (user_key)",
        )
    return f"""
        CREATE TABLE {entity.name}_word_hits AS
        WITH signs AS (
            SELECT {key}, unnest([{", ".join(map(engine.folded, signs))}]) AS word
            FROM db_{entity.name} AS old{merged}
        )
        SELECT DISTINCT {entity.key}, word, entity, file, line
        FROM rejected_words
        JOIN signs USING (word);"""


def _nothing_doubtful() -> str:
    return ";\n".join(empty("{entity}_doubtful", entity) for entity in ENTITIES)


def _doubtful(entity: Entity) -> str:
    if entity.key is None:
        return _doubtful_links(entity)
    others = _named_on_one_line() if entity is USERS else _any_that_is_missed(entity)
    return f"""
        CREATE TABLE {entity.name}_doubtful AS
        WITH meant AS (
            SELECT {entity.key}, entity, file, line
            FROM {entity.name}_word_hits
            WHERE entity IN ('{entity.name}', '{ID_CHANGES.name}'){_not_a_school(entity)}
        )
        SELECT {entity.key}
        FROM meant
        UNION{others};"""


def _not_a_school(entity: Entity) -> str:
    """A school's identifier stands on every line of its people, and may be a person's too: it speaks for the school."""
    if entity is ORGANIZATIONS:
        return ""
    schools = f"SELECT {engine.folded('organization_id')} FROM db_organizations WHERE organization_id NOT NULL"
    return f" AND word NOT IN ({schools})"


def _named_on_one_line() -> str:
    return f"""
        SELECT user_key
        FROM db_users AS old
        JOIN rejected_words AS given ON given.word = {engine.folded("old.given_name")} AND given.entity = 'users'
        JOIN rejected_words AS family ON family.word = {engine.folded("old.family_name")} AND family.entity = 'users'
            AND family.file = given.file AND family.line = given.line"""


def _any_that_is_missed(entity: Entity) -> str:
    """The last resort: a line of a school or class in which no record is recognised may be any that no row mentions.

    There are few of these and much hangs on each; among people, such a line would keep a whole district from leaving.
    """
    return f"""
        SELECT {entity.key}
        FROM {entity.name}_absent
        WHERE EXISTS (
            FROM rejected_words
            ANTI JOIN meant USING (entity, file, line)
            WHERE entity = '{entity.name}'
        )"""


def _doubtful_links(entity: Entity) -> str:
    """A link is doubtful when one rejected line names both of its ends."""
    first, second = entity.links.values()
    return f"""
        CREATE TABLE {entity.name}_doubtful AS
        SELECT DISTINCT {", ".join(primary_key(entity))}
        FROM {first}_word_hits
        JOIN {second}_word_hits USING (entity, file, line)
        JOIN db_{entity.name} USING ({", ".join(record_keys(entity))})
        WHERE entity = '{entity.name}';"""


def _unplanned_pairs(entity: Entity) -> str:
    """Links of which a row speaks that is not planned as it stands, by any identifier their ends ever had.

    A row of somebody in a school that is not planned at all may mean every role that they have there.
    """
    identity = ", ".join(entity.identity)
    joins = "".join(
        f"""
        JOIN {target}_lookup_with_history AS {target} ON {target}.source_key = unplanned.{link}"""
        for link, target in entity.links.items()
    )
    found = [f"{target}.key AS {BY_NAME[target].key}" for target in entity.links.values()]
    named = f"""
        WITH unplanned AS (
            SELECT {identity} FROM {entity.name}_aside
            UNION
            SELECT {identity} FROM {entity.name}_dangling
        )
        SELECT {", ".join([*found, *entity.told_apart_by])}
        FROM unplanned{joins}"""
    rows = _of_every_role(entity, named) if entity.told_apart_by else named
    return f"""
        CREATE TABLE {entity.name}_unplanned_pairs AS{rows}"""


def _of_every_role(entity: Entity, named: str) -> str:
    keys, ends = (", ".join(names) for names in (primary_key(entity), record_keys(entity)))
    return f"""
        SELECT DISTINCT {", ".join(f"old.{name}" for name in primary_key(entity))}
        FROM db_{entity.name} AS old
        SEMI JOIN (FROM ({named}) ANTI JOIN {entity.name}_resolved USING ({keys})) AS named USING ({ends})"""


def _lookup_with_history(entity: Entity) -> str:
    """Source key -> key, earlier identifiers included: a row may still say the old one while another says the new."""
    kinds = KIND_PREFIXES if entity is USERS else ()
    earlier = "".join(
        f"""
        UNION
        SELECT '{kind}' || old_id, entity_key
        FROM stored_history
        WHERE entity = '{entity.name}'"""
        for kind in ("", *kinds)
    )
    merged = """
        UNION
        SELECT source_key, key
        FROM users_merged""" if entity is USERS else ""  # fmt: skip
    return f"""
        CREATE VIEW {entity.name}_lookup_with_history AS
        SELECT source_key, key
        FROM {entity.name}_lookup
        UNION
        SELECT source_key, key
        FROM {entity.name}_renames
        WHERE key IS NOT NULL{earlier}{merged};"""
