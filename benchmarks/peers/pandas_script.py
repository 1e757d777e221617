"""The script that a district's engineer would write in an afternoon: `read_csv`, `merge`, `to_sql`.

Like the floor it adds, changes and removes in one transaction; no checks, no plan, no audit, no history. SQLAlchemy's
own choice of driver, psycopg2, and pandas' own way of inserting were the quickest of those tried.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, create_engine, text

from benchmarks.peers.tables import TABLES, RosterTable, phase, print_phases

CHUNK = 10_000


def write(connection: Connection, rows: pd.DataFrame, table: str) -> None:
    rows.to_sql(table, connection, if_exists="append", index=False, chunksize=CHUNK)


def first_load(connection: Connection, table: RosterTable, new: pd.DataFrame) -> None:
    with phase("write"):
        write(connection, new, table.name)
        key = ", ".join(f'"{column}"' for column in table.key)
        connection.execute(text(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({key})"))


def change(connection: Connection, table: RosterTable, new: pd.DataFrame) -> None:
    with phase("read present"):
        old = pd.read_sql(f"SELECT * FROM {table.name}", connection, dtype=str)
    with phase("compare"):
        both = old.merge(new, how="outer", on=list(table.columns), indicator="side")
        stale = both.loc[both["side"] == "left_only", list(table.key)]
        fresh = both.loc[both["side"] == "right_only", list(table.columns)]
    with phase("write"):
        if len(stale):
            stale.to_sql(f"stale_{table.name}", connection, index=False, chunksize=CHUNK)
            same = " AND ".join(f'base."{column}" = stale."{column}"' for column in table.key)
            connection.execute(text(f"DELETE FROM {table.name} AS base USING stale_{table.name} AS stale WHERE {same}"))
            connection.execute(text(f"DROP TABLE stale_{table.name}"))
        if len(fresh):
            write(connection, fresh, table.name)


def main(workload: str, folder: Path, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in TABLES:
            with phase("read files"):
                new = pd.read_csv(folder / table.file, dtype=str, usecols=list(table.columns)).drop_duplicates()
            (first_load if workload == "first" else change)(connection, table, new)
    print_phases()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
