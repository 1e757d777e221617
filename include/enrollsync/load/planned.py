"""The operations that a plan has on one base table, as Arrow: rows that change, rows that are new, and their audit.

A link that is created as most are tells its creation itself (`database/audit.py`): its row has the state, the number
and the line, and the run has the file. Such an operation is written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrollsync.database.schema import BASE, CHANGES, CREATED, USUAL_LINKS, arrow_schema, columns_of, primary_key
from enrollsync.words.canonical import Entity

_BATCH_ROWS = 65_536
_SAID = ("operation", "entity_id", "before_json", "after_json", "reason", "file", "line")
"""The columns of `changes` that a plan's table has besides what names the record."""
_UNUSUAL = ("entity_id", "after_json", "reason")
"""What is NULL where the audit of a link's creation has nothing to say but its line."""


@dataclass(frozen=True)
class Planned:
    """The operations on one base table, in the order in which its rows lie."""

    path: Path
    entity: Entity
    district_id: str
    state_after: int
    first: int
    """The number of the first operation among all of the run."""
    creates: pa.ChunkedArray = field(repr=False)
    """Of each operation, whether it creates a record."""
    file: str | None
    """The file of the lines by which links are created whose own rows tell it; None where no row does."""
    told: pa.ChunkedArray = field(repr=False)
    """Of each operation, whether the link's own row tells it."""

    @classmethod
    def read(cls, path: Path, entity: Entity, district_id: str, state_after: int, first: int) -> Planned:
        """Look into a plan's table."""
        creates = pc.equal(pq.read_table(path, columns=["operation"])["operation"], "create")
        file, told = None, pc.and_not(creates, creates)
        if entity.name in USUAL_LINKS and _true(creates):
            lines = _usual_lines(path)
            counted = pc.value_counts(lines.drop_null()).to_pylist()
            file = max(counted, key=lambda one: (one["counts"], one["values"]), default={"values": None})["values"]
            told = pc.equal(lines, file).fill_null(False) if file else told
        return cls(path, entity, district_id, state_after, first, creates, file, told)

    @property
    def count(self) -> int:
        """How many operations there are."""
        return len(self.creates)

    @property
    def creations(self) -> int:
        """How many of them create a record; the others change one."""
        return _true(self.creates)

    @property
    def audited(self) -> int:
        """How many are to be written to `changes`."""
        return self.count - _true(self.told)

    def changed_rows(self, schema: pa.Schema) -> pa.RecordBatchReader:
        """The rows as they are to be of records that change."""
        changed = (batch.filter(pc.invert(creates)) for batch, creates, _, _ in self._batches(schema))
        return pa.RecordBatchReader.from_batches(schema, changed)

    def created_rows(self) -> pa.RecordBatchReader:
        """The rows of new records, as the base table has them."""
        base = BASE[self.entity.name]
        own = arrow_schema([base.c[name] for name in columns_of(self.entity)])
        created = arrow_schema([base.c[name] for name in CREATED]) if self.file else pa.schema([])
        read = pa.schema([*own, pa.field("line", pa.int64())]) if self.file else own
        schema = pa.schema([("district_id", pa.string()), *own, *created])

        def batches() -> Iterator[pa.RecordBatch]:
            for batch, creates, told, numbers in self._batches(read):
                columns = [pa.repeat(self.district_id, batch.num_rows), *batch.columns[: len(own)]]
                if self.file:
                    creation = (pa.repeat(self.state_after, batch.num_rows), numbers, batch["line"])
                    columns += [
                        pc.if_else(told, value, None).cast(kind)
                        for value, kind in zip(creation, created.types, strict=True)
                    ]
                yield pa.record_batch(columns, schema=schema).filter(creates)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def audit_rows(self) -> pa.RecordBatchReader:
        """The operations that no row tells, as rows of `changes`."""
        own = arrow_schema([CHANGES.c[name] for name in (*primary_key(self.entity), *_SAID)])
        alike = {"district_id": self.district_id, "state_after": self.state_after, "entity": self.entity.name}
        schema = pa.schema([*arrow_schema([CHANGES.c[name] for name in (*alike, "sequence")]), *own])

        def batches() -> Iterator[pa.RecordBatch]:
            for batch, _, told, numbers in self._batches(own):
                constants = [pa.repeat(value, batch.num_rows) for value in alike.values()]
                yield pa.record_batch([*constants, numbers, *batch.columns], schema=schema).filter(pc.invert(told))

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _batches(self, schema: pa.Schema) -> Iterator[tuple[pa.RecordBatch, pa.Array, pa.Array, pa.Array]]:
        """Rows with these columns; of each, whether it creates, whether its own row tells it, and its number."""
        at = 0
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=schema.names):
                rows = batch.num_rows
                flags = (flag.slice(at, rows).combine_chunks() for flag in (self.creates, self.told))
                numbers = pa.array(np.arange(self.first + at, self.first + at + rows))
                yield batch.select(schema.names).cast(schema), *flags, numbers
                at += rows


def _usual_lines(path: Path) -> pa.ChunkedArray:
    """Of each operation, the file whose line creates a link as most are created; NULL of all others."""
    read = ["operation", "file", "line", *_UNUSUAL]

    def files() -> Iterator[pa.Array]:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(_BATCH_ROWS, columns=read):
                usual = pc.and_(pc.equal(batch["operation"], "create"), batch["line"].is_valid())
                for name in _UNUSUAL:
                    usual = pc.and_(usual, batch[name].is_null())
                yield pc.if_else(usual, batch["file"], None).dictionary_encode()

    return pa.chunked_array(files()).unify_dictionaries()


def _true(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags).as_py() or 0)
