"""Which words the names of a plan have, so that a search finds them. Searching belongs to `records/search.py`.

A name is known once, whoever has it, so a night brings few that are new; none is ever taken out.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from sqlalchemy import MetaData, literal, select
from sqlalchemy.dialects.postgresql import insert

from enrollsync.database.dialects import Session
from enrollsync.database.schema import NAMES, SEARCH_NAMES
from enrollsync.run import engine
from enrollsync.words.folding import words_in


def names_to_find(plan_folder: Path) -> pa.Table:
    """The words of all names in a plan: the columns of `search_names` but `district_id`, each row once."""
    named = " UNION ALL ".join(
        f"SELECT '{entity}' AS entity, unnest([{', '.join(columns)}]) AS name "
        f"FROM {engine.parquet(plan_folder / f'{entity}.parquet')}"
        for entity, columns in NAMES.items()
    )
    with engine.connect(plan_folder.parent) as connection:  # the run's, whose engine there is already
        return connection.sql(f"""
            WITH names AS (
                SELECT DISTINCT entity, substr(name, 1, 100) AS name
                FROM ({named})
            )
            SELECT entity, unnest({words_in("name")}) AS word, name
            FROM names
            ORDER BY ALL""").to_arrow_table()


def remember_names(session: Session, district_id: str, names: pa.Table) -> None:
    """Add what the district's search does not know yet."""
    if not names.num_rows:
        return
    if not session.rows(select(literal(1)).where(SEARCH_NAMES.c.district_id == district_id).limit(1)):
        whose = pa.repeat(district_id, names.num_rows)
        session.append(SEARCH_NAMES.name, names.add_column(0, "district_id", whose).to_reader())
        return
    staged = SEARCH_NAMES.to_metadata(MetaData(), name="staged_search_names")
    session.stage(staged.name, names.to_reader())
    told = [staged.c[name] for name in names.column_names]
    rows = select(literal(district_id), *told).order_by(*told)
    # Both databases spell it like PostgreSQL.
    statement = insert(SEARCH_NAMES).from_select(["district_id", *names.column_names], rows)
    session.execute(statement.on_conflict_do_nothing())
