"""A district as a whole: how much a roster knows of it, a copy of all that in another database, and its removal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sqlalchemy import Table, delete, func, select

from enrollsync.database.access import Database, state_version
from enrollsync.database.dialects import Session
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import METADATA, arrow_schema
from enrollsync.words.errors import DatabaseError

if TYPE_CHECKING:
    import pyarrow as pa

TABLES: tuple[Table, ...] = tuple(METADATA.sorted_tables)
"""In the order in which they can be written."""


class Districts(Database):
    """What is done with a district as a whole."""

    def count_district(self, district_id: str) -> dict[str, int]:
        """Table -> rows of the district, those without any left out."""
        self.require_roster()
        with one_line_errors(self.backend, files=False), self.backend.reading() as session:
            return _counted(session, district_id)

    def copy_district(self, district_id: str, target: Districts) -> dict[str, int]:
        """Write all that is known of the district into `target`, in one transaction; table -> rows.

        The state copied is one state, whoever writes meanwhile. `target` gets the schema where it has none. Raises
        DatabaseError when it knows the district already.
        """
        self.require_roster()
        target.migrate()
        with (
            one_line_errors(self.backend, files=False),
            self.backend.reading() as source,
            target.writing(district_id, "copy of a district") as session,
        ):
            if known := _counted(session, district_id):
                told = ", ".join(f"{rows:,} {table}" for table, rows in known.items())
                raise DatabaseError(
                    f"database {target.backend.place}: it has rows of district {district_id} already ({told}); nothing "
                    "was copied, name another database"
                )
            for table in TABLES:
                session.append(table.name, self._rows_of(source, table, district_id))
            session.take_stock()
            return _counted(session, district_id)

    def _rows_of(self, session: Session, table: Table, district_id: str) -> pa.RecordBatchReader:
        import pyarrow as pa

        schema = arrow_schema(list(table.columns))

        def batches() -> Iterator[pa.RecordBatch]:
            query = select(table).where(table.c.district_id == district_id)
            yield from self.backend.batches(session, query, schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def remove_district(self, district_id: str) -> dict[str, int]:
        """Delete all that is known of the district, in one transaction; table -> rows.

        Waits for a run that writes. What the rows were may lie in the database's files until `wipe`.
        """
        with self.writing(district_id, "removal of a district") as session:
            state_version(session, district_id, lock=True)
            removed = _counted(session, district_id)
            for table in reversed(TABLES):
                session.execute(delete(table).where(table.c.district_id == district_id))
        return removed


def _counted(session: Session, district_id: str) -> dict[str, int]:
    """Table -> rows of the district, those without any left out."""
    counts = {}
    for table in TABLES:
        query = select(func.count()).select_from(table).where(table.c.district_id == district_id)
        ((counts[table.name],),) = session.rows(query)
    return {table: int(rows) for table, rows in counts.items() if rows}
