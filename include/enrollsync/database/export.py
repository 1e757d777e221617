"""A district's rows as Parquet: the state that a plan compares with, and the audit that an undo is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, Table, and_, false, func, not_, select

from enrollsync.database.access import Database, state_version
from enrollsync.database.around import Around, People
from enrollsync.database.audit import Audit, audit_of
from enrollsync.database.dialects import Session
from enrollsync.database.forgotten import forgotten_people, write_forgotten
from enrollsync.database.merges import list_merges, merge_runs, write_merges
from enrollsync.database.messages import one_line_errors
from enrollsync.database.schema import (
    BASE,
    CHANGES,
    CREATED,
    EDITED,
    IDENTIFIER_HISTORY,
    RECORD_KEYS,
    RUNS,
    USUAL_ENROLLMENT,
    arrow_schema,
)
from enrollsync.database.undos import list_undos, undo_runs, undone_runs, write_undos
from enrollsync.words.canonical import ENROLLMENTS, ENTITIES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_ROWS_TOGETHER = 30_720
"""Rows that one thread of who reads the files takes at a time, as of those that it writes (`run.engine`)."""

_OF_ITS_OWN = {name for entity in ENTITIES for name in entity.of_kind("key", "identifier", "secondary", "email")}
_OF_ITS_OWN |= {"username", "before_json", "after_json"}
"""Texts that hardly two records share."""


class Exports(Database):
    """What can be taken out of a roster."""

    def export(
        self, district_id: str, folder: Path, source: str | None = None, around: Around | People | None = None
    ) -> int:
        """Write the district's rows, in one consistent read, to `<table>.parquet`: base tables, identifier history.

        Every column but `district_id`, `removed` rows included. `undos.parquet` has the undos, see `Undo`;
        `edits.parquet` and `merges.parquet` what persons did that later rows are read by, `forgotten.parquet` who was
        forgotten. Returns the state version. A database that is not there, or has no roster, gives empty files and 0,
        and is not created.
        `source` is the one whose rows there will be most of: they are fetched in less time. `around`: only these rows.
        """
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        if not self.has_roster():
            for table in _EXPORTED:
                pq.write_table(_schema_of(table).empty_table(), _file(folder, table))
            write_undos([], folder)
            _write_edits([], folder)
            write_merges({}, folder)
            write_forgotten([], folder)
            return 0
        with one_line_errors(self.backend, files=False), self.backend.reading() as session:
            version = state_version(session, district_id)
            for table in _EXPORTED:
                if around is not None:
                    self._export_table(session, table, district_id, _file(folder, table), around.rows(table))
                elif table is not BASE[ENROLLMENTS.name]:
                    self._export_table(session, table, district_id, _file(folder, table))
            if around is None:
                self._export_enrollments(session, district_id, folder, source)
            undos = list_undos(session.rows(undo_runs(district_id)))
            write_undos(undos, folder)
            undone = undone_runs(undos)
            # An edit is not held against earlier ones.
            made = session.rows(_edits(district_id)) if around is None else []
            edits = [told for run_id, *told in made if run_id not in undone]
            _write_edits(edits, folder)
            merged = [(run_id, message) for run_id, message in session.rows(merge_runs(district_id))]
            write_merges(list_merges(merged, undone), folder)
            write_forgotten(session.rows(forgotten_people(district_id)), folder)
        return version

    def export_changes(self, district_id: str, since: int, folder: Path) -> None:
        """Write the audit of the runs that led to the state `since` or a later one to `changes.parquet`.

        `runs.parquet` has those runs. Every column but `district_id`.
        """
        with one_line_errors(self.backend, files=False), self.backend.reading() as session:
            audit = audit_of(*(entity.name for entity in ENTITIES))
            for table, path in ((audit, _file(folder, CHANGES)), (RUNS, _file(folder, RUNS))):
                self._export_table(session, table, district_id, path, table.c.state_after >= since)

    def _export_table(
        self, session: Session, table: Audit, district_id: str, path: Path, *conditions: ColumnElement[bool]
    ) -> None:
        schema = _schema_of(table)
        columns = (table.c[name] for name in schema.names)
        query = select(*columns).where(table.c.district_id == district_id, *conditions)
        with _writer(path, schema) as writer:
            for batch in self.backend.batches(session, query, schema):
                writer.write_batch(batch, row_group_size=_ROWS_TOGETHER)

    def _export_enrollments(self, session: Session, district_id: str, folder: Path, source: str | None) -> None:
        """Of those that are as usual, and from `source`, only the keys are fetched: millions of rows, two columns."""
        import pyarrow as pa

        table = BASE[ENROLLMENTS.name]
        usual = {**USUAL_ENROLLMENT, "source": source}
        is_usual = func.coalesce(and_(*(table.c[name] == value for name, value in usual.items())), false())
        schema = _schema_of(table)
        keys = pa.schema([field for field in schema if field.name not in usual])
        written = pa.schema([field if field in keys else field.with_type(_told_once(field.type)) for field in schema])

        def rows(fields: pa.Schema, condition: ColumnElement[bool]) -> Iterator[pa.RecordBatch]:
            query = select(*(table.c[name] for name in fields.names))
            return self.backend.batches(session, query.where(table.c.district_id == district_id, condition), fields)

        with _writer(_file(folder, table), written) as writer:
            for batch in rows(keys, is_usual):
                columns = [
                    batch[field.name] if field in keys else _all_alike(usual[field.name], field.type, batch.num_rows)
                    for field in written
                ]
                writer.write_batch(pa.record_batch(columns, schema=written), row_group_size=_ROWS_TOGETHER)
            for batch in rows(schema, not_(is_usual)):
                writer.write_batch(batch.cast(written), row_group_size=_ROWS_TOGETHER)


def _file(folder: Path, table: Table) -> Path:
    return folder / f"{table.name}.parquet"


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A third faster than one that looks for values that return in every column, and for the least and the greatest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [field.name for field in schema if field.type == pa.int64()]
    returning = [field.name for field in schema if field.type != pa.int64() and field.name not in _OF_ITS_OWN]
    return pq.ParquetWriter(path, schema, store_schema=False, use_dictionary=returning, write_statistics=keys)


def _told_once(type_: pa.DataType) -> pa.DataType:
    """A text that many rows share, as a dictionary with a number a row."""
    import pyarrow as pa

    return pa.dictionary(pa.int8(), type_) if pa.types.is_string(type_) else type_


def _all_alike(value: str | bool | None, type_: pa.DataType, rows: int) -> pa.Array:
    import pyarrow as pa

    if not pa.types.is_dictionary(type_):
        return pa.repeat(pa.scalar(value, type_), rows)
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, type_.index_type), rows), [value])


def _edits(district_id: str) -> Select[Any]:
    """What runs changed that applied a person's edit of one record: the run, and what `edits.parquet` has."""
    key = func.coalesce(*(CHANGES.c[name] for name in RECORD_KEYS))
    same = (RUNS.c.district_id == CHANGES.c.district_id) & (RUNS.c.state_after == CHANGES.c.state_after)
    told = (CHANGES.c.entity, key, CHANGES.c.state_after, CHANGES.c.before_json, CHANGES.c.after_json)
    return (
        select(RUNS.c.run_id, *told)
        .join_from(RUNS, CHANGES, same)
        .where(RUNS.c.district_id == district_id, RUNS.c.message == EDITED, CHANGES.c.before_json.is_not(None))
    )


def _write_edits(rows: Iterable[Sequence[Any]], folder: Path) -> None:
    """`edits.parquet`: record, version of the state after the edit, and the values before and after as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("entity", pa.string()), ("entity_key", pa.int64()), ("state_after", pa.int64()),
                        ("before_json", pa.string()), ("after_json", pa.string())])  # fmt: skip
    told = [dict(zip(schema.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(told, schema), folder / "edits.parquet")


_EXPORTED = (*BASE.values(), IDENTIFIER_HISTORY)


def _schema_of(table: Audit) -> Any:
    """Every column but those that every row, or only the audit, has."""
    return arrow_schema([column for column in table.columns if column.name not in ("district_id", *CREATED)])
