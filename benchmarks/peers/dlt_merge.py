"""dlt with merge disposition: loads every row anew and lets the server merge by primary key. It removes nothing.

The quickest way that dlt offers here: Arrow tables in, Parquet between, ADBC's COPY into its staging tables. CSV
between is slower, and the strategy `upsert` refuses a file that names a student twice.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import dlt
import pyarrow as pa
import pyarrow.csv
from psycopg.conninfo import conninfo_to_dict

from benchmarks.peers.tables import TABLES, RosterTable, phase, print_phases

DATASET = "roster"


def resource(table: RosterTable, folder: Path) -> Any:
    def rows() -> Iterator[pa.Table]:
        yield pa.csv.read_csv(
            folder / table.file,
            convert_options=pa.csv.ConvertOptions(
                include_columns=list(table.columns),
                column_types=dict.fromkeys(table.columns, pa.string()),
                strings_can_be_null=True,
            ),
        )

    return dlt.resource(rows, name=table.name, write_disposition="merge", primary_key=table.key, file_format="parquet")


def complete(url: str) -> str:
    """dlt asks for a host and a password even where there is a socket and nobody asks for one."""
    parts = conninfo_to_dict(url)
    return f"postgresql://{parts['user']}:unused@{quote(str(parts['host']), safe='')}/{parts['dbname']}"


def main(workload: str, folder: Path, url: str) -> None:
    """Merges on either night."""
    with TemporaryDirectory(dir=folder.parent) as working:
        pipeline = dlt.pipeline(
            "roster", destination=dlt.destinations.postgres(complete(url)), dataset_name=DATASET, pipelines_dir=working
        )
        resources = [resource(table, folder) for table in TABLES]
        with phase("extract"):
            pipeline.extract(resources)
        with phase("normalize"):
            pipeline.normalize()
        with phase("load"):
            pipeline.load(raise_on_failed_jobs=True)
    print_phases()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
