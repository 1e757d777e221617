"""A DuckDB connection as every step uses it: bounded in memory, spilling into the run's workspace."""

from __future__ import annotations

import atexit
import itertools
import os
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from enrollsync.words.canonical import KIND_PREFIXES


@contextmanager
def connect(workspace: Path, *, ordered: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory, gone at the end; what does not fit into `ENROLLSYNC_MEMORY` (2GB) spills into `workspace`.

    Rows come in the files' order when `ordered`; otherwise only where a query says so, which lets large results stream.
    The process's connections of one workspace share an engine, and with it the memory: making one takes as long as a
    dozen statements on a few rows.
    """
    own = f"own_{next(_numbers)}"
    with _engine(workspace / "spill", ordered).cursor() as connection:
        connection.execute(f"ATTACH ':memory:' AS {own}; USE {own}")
        try:
            yield connection
        finally:
            connection.execute(f"USE memory; DETACH {own}")


_numbers = itertools.count(1)
_ROWS_TOGETHER = 30_720
"""Rows of a Parquet file that one thread takes at a time. Of DuckDB's own 122,880, a hundred thousand students would be
work for a single thread (as they are in a table in memory, where it takes no other number)."""


@lru_cache(maxsize=2)
def _engine(spill: Path, ordered: bool) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": os.environ.get("ENROLLSYNC_MEMORY", "2GB"),
            "temp_directory": str(spill),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": ordered,
        },
    )


def close() -> None:
    """Close the process's engines, and remove what they spilled."""
    _engine.cache_clear()


# An engine that outlives the interpreter's modules is told as a leak.
atexit.register(close)


@lru_cache(maxsize=1)
def _for_pages() -> duckdb.DuckDBPyConnection:
    folder = tempfile.mkdtemp(prefix="enrollsync-pages-")  # for its owner alone: records may spill into it
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _engine(Path(folder), False)


def for_page() -> duckdb.DuckDBPyConnection:
    """A connection of one request: an engine is made once a process, which takes longer than most questions.

    What it makes must be temporary: another request's is named alike.
    """
    return _for_pages().cursor()


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, path: Path, parameters: object = None) -> None:
    """Write a query's result to `path` (a file of our own naming), replacing it in one step."""
    half = path.with_suffix(".part")
    # Version 2 packs ascending numbers and strings: less to write, and faster to read again.
    options = f"FORMAT parquet, PARQUET_VERSION V2, ROW_GROUP_SIZE {_ROWS_TOGETHER}"
    connection.execute(f"COPY ({query}) TO '{_quoted(half)}' ({options})", parameters)
    half.replace(path)


def table_or_view(*folders: Path) -> str:
    """How to CREATE what many statements read out of the Parquet files of these folders: as a TABLE or as a VIEW.

    Of a few thousand rows each statement takes longer to open the files, and to plan what was planned before, than it
    then works; of millions a copy would take the memory that sorting and joining need.
    """
    size = sum(path.stat().st_size for folder in folders for path in folder.glob("*.parquet"))
    return "TABLE" if size < _FEW_BYTES else "VIEW"


_FEW_BYTES = 2_000_000
"""Some hundred thousand rows take more."""


def parquet(path: Path) -> str:
    """`read_parquet('path')` for one file, whatever characters its folders' names have."""
    return f"read_parquet('{_exactly(path)}')"


def _exactly(path: Path) -> str:
    """The path without a character that would end the text or stand for many files."""
    return _quoted(Path(re.sub(r"([\[*?])", r"[\1]", str(path))))


def _quoted(path: Path) -> str:
    """The path within a text of SQL."""
    return str(path).replace("'", "''")


def literal(value: str | bool) -> str:
    """A value of our own (a path, a pattern, a grade) as SQL writes it."""
    return str(value).lower() if isinstance(value, bool) else "'" + value.replace("'", "''") + "'"


def name(column: str) -> str:
    """A column's name as SQL writes it, whatever characters it has."""
    return '"' + column.replace('"', '""') + '"'


def listed(names: Iterable[str], indent: int) -> str:
    """Names with commas between, as many on a line as fit; `indent`: the blanks before every line but the first."""
    lines = textwrap.wrap(", ".join(names), 116 - indent, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def masked(identifier: str) -> str:
    """SQL for an identifier that may be shown: what looks like a social security number keeps four digits (rule 5)."""
    return (
        f"CASE WHEN regexp_full_match({identifier}, '[0-9]{{9}}|[0-9]{{3}}-[0-9]{{2}}-[0-9]{{4}}') "
        f"THEN '*****' || right({identifier}, 4) ELSE {identifier} END"
    )


def without_kind(source_key: str) -> str:
    """SQL for a source key as the source says it, without the kind of person that we put before it."""
    return f"regexp_replace({source_key}, '^({'|'.join(KIND_PREFIXES)})', '')"


def folded(text: str) -> str:
    """SQL for a text without what an eye does not see: case, blanks, invisible characters, how accents are composed."""
    return rf"lower(nfc_normalize(regexp_replace({text}, '[\p{{C}}\p{{Z}}\x{{FE00}}-\x{{FE0F}}]', '', 'g')))"


_BLANKS = "[\\x00-\\x20\\x7f-\\xa0\\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]*"
"""Blanks and what cannot be seen, for DuckDB and Python alike."""
_FORMULA = f"{_BLANKS}[=+\\-@＝＋－＠﹦﹢﹣﹫−]"
"""How a cell starts that a spreadsheet may take for a formula; some pass over blanks and know wide signs."""


def cell(text: str) -> str:
    """SQL for a cell of a CSV file that no spreadsheet takes for a formula: an apostrophe stands before one."""
    pattern = literal(f"^'*{_FORMULA}")
    return f"CASE WHEN regexp_matches({text}, {pattern}) THEN chr(39) || {text} ELSE {text} END"


def uncelled(text: str) -> str:
    """SQL for the text that `cell` made a cell of."""
    pattern = literal(f"^'+{_FORMULA}")
    return f"CASE WHEN regexp_matches({text}, {pattern}) THEN substr({text}, 2) ELSE {text} END"


def with_escape(text: str) -> str:
    """The same as `cell`, of one text at hand."""
    return f"'{text}" if re.match(f"'*{_FORMULA}", text) else text


def without_escape(text: str) -> str:
    """The same as `uncelled`, of one text at hand."""
    return text[1:] if re.match(f"'+{_FORMULA}", text) else text


def one_row(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> tuple[Any, ...]:
    """The only row of a result, read to its end: an unread result would block the connection."""
    (row,) = connection.execute(query, parameters).fetchall()
    return tuple(row)
