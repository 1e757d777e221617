"""A stock Great Expectations checkpoint before the load, as its documentation shows it: what a careful team would add.

    python -m benchmarks.peers.checkpoint SCRIPT (first|changed) FOLDER DATABASE_URL

reads the files, runs one validation for each, stops where one fails, and then does what the peer SCRIPT does, in the
same process. References are looked up by pandas and checked as a column, which is the quickest way found: given as a
set of a million values they take a hundred seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from benchmarks.peers.tables import TABLES, RosterTable, phase

IDENTIFIER = r"^[A-Za-z0-9._@-]+$"
SSN = r"^\d{3}-\d{2}-\d{4}$"
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
NAMED = ("students", "teachers", "staff")
"""Tables of people."""


def read(folder: Path) -> dict[str, pd.DataFrame]:
    """Table -> its distinct lines, and for each column that refers to a record whether that is among the files'."""
    frames = {
        table.name: pd.read_csv(folder / table.file, dtype=str, usecols=list(table.columns)).drop_duplicates()
        for table in TABLES
    }
    for table in TABLES:
        frame = frames[table.name]
        for other in TABLES:
            (key,) = other.key if len(other.key) == 1 else ("",)
            if other is not table and key in table.columns:
                frame[f"{key}_known"] = frame[key].isna() | frame[key].isin(frames[other.name][key])
    return frames


def expectations(table: RosterTable, frame: pd.DataFrame) -> Iterator[gxe.Expectation]:
    """Identifiers present, unique, of the right form and not like an SSN; names, emails, references."""
    for column in table.key:
        yield gxe.ExpectColumnValuesToNotBeNull(column=column)
    if len(table.key) > 1:
        yield gxe.ExpectCompoundColumnsToBeUnique(column_list=list(table.key))
    else:
        (key,) = table.key
        yield gxe.ExpectColumnValuesToBeUnique(column=key)
        yield gxe.ExpectColumnValuesToMatchRegex(column=key, regex=IDENTIFIER)
        yield gxe.ExpectColumnValuesToNotMatchRegex(column=key, regex=SSN)
    if table.name in NAMED:
        for column in ("First_name", "Last_name"):
            yield gxe.ExpectColumnValuesToNotBeNull(column=column)
    for column in (name for name in table.columns if name.endswith("_email")):
        yield gxe.ExpectColumnValuesToMatchRegex(column=column, regex=EMAIL)
    for column in (name for name in frame.columns if name.endswith("_known")):
        yield gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[True])


def check(folder: Path) -> None:
    """Run the checkpoint; SystemExit with what failed."""
    frames = read(folder)
    context = gx.get_context(mode="ephemeral")
    source = context.data_sources.add_pandas("files")
    for table in TABLES:
        batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("whole")
        suite = context.suites.add(
            gx.ExpectationSuite(table.name, expectations=list(expectations(table, frames[table.name])))
        )
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
        )
        result = definition.run(batch_parameters={"dataframe": frames[table.name]})
        failed = [one.expectation_config.type for one in result.results if not one.success and one.expectation_config]
        if failed:
            raise SystemExit(f"{table.file}: {', '.join(failed)}")


def main(script: str, workload: str, folder: Path, url: str) -> None:
    with phase("check"):
        check(folder)
    import_module(f"benchmarks.peers.{script}").main(workload, folder, url)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
