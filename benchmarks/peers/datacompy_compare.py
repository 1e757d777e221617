"""datacompy for the reconcile step alone: which rows are new, gone or different between two nights.

    python -m benchmarks.peers.datacompy_compare (pandas|polars) OLD_FOLDER NEW_FOLDER

Both sides are frames in memory when the phase `compare` starts; nothing is planned or written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import polars as pl
from datacompy import PandasCompare, PolarsCompare

from benchmarks.peers.tables import TABLES, RosterTable, phase, print_phases


def frames_of_pandas(folder: Path, table: RosterTable) -> pd.DataFrame:
    return pd.read_csv(folder / table.file, dtype=str, usecols=list(table.columns)).drop_duplicates()


def frames_of_polars(folder: Path, table: RosterTable) -> pl.DataFrame:
    return pl.read_csv(folder / table.file, infer_schema=False, columns=list(table.columns)).unique()


def main(engine: str, old_folder: Path, new_folder: Path) -> None:
    read, compare = {
        "pandas": (frames_of_pandas, PandasCompare),
        "polars": (frames_of_polars, PolarsCompare),
    }[engine]
    for table in TABLES:
        with phase("read files"):
            old, new = read(old_folder, table), read(new_folder, table)
        with phase("compare"):
            result = compare(old, new, join_columns=list(table.key), cast_column_names_lower=False)
            gone, fresh, different = len(result.df1_unq_rows), len(result.df2_unq_rows), len(result.all_mismatch())
        print(f"{table.name}: {gone} gone, {fresh} new, {different} different", file=sys.stderr)
    print_phases()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
