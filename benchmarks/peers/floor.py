"""The floor: read, compare, write, with the fastest engine for each and nothing else.

DuckDB reads the CSV files, ADBC reads the present state as Arrow, DuckDB finds the difference in both directions, and
ADBC's COPY writes it. No checks, no plan, no audit, no history; one transaction a run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
from adbc_driver_postgresql import dbapi

from benchmarks.peers.tables import TABLES, RosterTable, phase, print_phases


def read_new(engine: duckdb.DuckDBPyConnection, table: RosterTable, folder: Path) -> None:
    columns = ", ".join(table.columns)
    engine.execute(
        f"CREATE TABLE new_{table.name} AS SELECT DISTINCT {columns} FROM read_csv(?, all_varchar = true)",
        [str(folder / table.file)],
    )


def first_load(engine: duckdb.DuckDBPyConnection, cursor: dbapi.Cursor, table: RosterTable) -> None:
    with phase("write"):
        rows = engine.sql(f"FROM new_{table.name}").to_arrow_reader()
        cursor.adbc_ingest(table.name, rows, mode="create")
        key = ", ".join(f'"{column}"' for column in table.key)
        cursor.execute(f"ALTER TABLE {table.name} ADD PRIMARY KEY ({key})")


def change(engine: duckdb.DuckDBPyConnection, cursor: dbapi.Cursor, table: RosterTable) -> None:
    with phase("read present"):
        cursor.execute(f"SELECT * FROM {table.name}")
        engine.register(f"old_{table.name}", cursor.fetch_arrow_table())
    with phase("compare"):
        key = ", ".join(table.key)
        gone = f"SELECT {key} FROM (FROM old_{table.name} EXCEPT FROM new_{table.name})"
        stale = engine.sql(gone).to_arrow_table()
        fresh = engine.sql(f"FROM new_{table.name} EXCEPT FROM old_{table.name}").to_arrow_table()
    with phase("write"):
        if len(stale):
            same = " AND ".join(f'base."{column}" = stale."{column}"' for column in table.key)
            cursor.adbc_ingest(f"stale_{table.name}", stale, mode="create", temporary=True)
            cursor.execute(f"DELETE FROM {table.name} AS base USING stale_{table.name} AS stale WHERE {same}")
        if len(fresh):
            cursor.adbc_ingest(table.name, fresh, mode="append")


def main(workload: str, folder: Path, url: str) -> None:
    engine = duckdb.connect()
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        for table in TABLES:
            with phase("read files"):
                read_new(engine, table, folder)
            (first_load if workload == "first" else change)(engine, cursor, table)
        with phase("write"):
            connection.commit()
    print_phases()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
