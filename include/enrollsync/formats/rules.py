"""A format as one district's export needs it: its words for ours, lines that are left out, the case of a column.

The district's file says it (`source.values`, `source.case`, `source.skip`). Here that becomes part of the declarations,
so that a rule is read wherever they are: by the lines' mappings, by the conditions on them, and by an edit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from enrollsync.formats.declare import Cell, FileSpec, Format, Lookup, Mapping, Passed, When
from enrollsync.words.spellings import WORDS

Case = Literal["lower", "upper"]
_Rule = TypeVar("_Rule")


@dataclass(frozen=True)
class Skip:
    """Lines of one file that are left out: those of which a column has one of some values, in any case."""

    file: str
    column: str
    """A header as the format knows it, or one that it does not know."""
    one_of: tuple[str, ...]


def with_rules(
    declared: Format, *, values: dict[str, dict[str, str]], case: dict[str, Case], skip: Sequence[Skip]
) -> Format:
    """The format under a district's rules.

    `values` and `case` name a column by a header of the format, in any case, or by its canonical name, which stands for
    all headers that bring it.
    """
    if not (values or case or skip):
        return declared
    words = _by_header(declared, values)
    cased = _by_header(declared, case)
    mappings = tuple(_ruled(mapping, words, cased) for mapping in declared.mappings)
    files = tuple(_skipping(spec, declared, skip, words) for spec in declared.files)
    own = {key: (tuple(given), _places(declared, key)) for key, given in values.items()}
    return replace(declared, mappings=mappings, files=files, own_words=own)


def _places(declared: Format, key: str) -> tuple[tuple[str, str], ...]:
    headers = headers_meant(declared, key)
    return tuple((spec.name, header) for spec in declared.files for header in headers if header in spec.known)


def _by_header(declared: Format, rules: dict[str, _Rule]) -> dict[str, _Rule]:
    return {header: rule for key, rule in rules.items() for header in headers_meant(declared, key)}


def headers_meant(declared: Format, key: str) -> list[str]:
    """The format's headers that a rule means by `key`; none where it knows none by that name."""
    named = [name for name in declared.headers if name.casefold() == key.casefold()]
    cells = (cell for mapping in declared.mappings for column, cell in mapping.cells.items() if column == key)
    brought = [header for cell in cells for header in _headers(cell)]
    return list(dict.fromkeys([*named, *brought]))


def _headers(cell: Cell) -> tuple[str, ...]:
    """The headers whose texts become the cell's value."""
    return (cell.lookup.column,) if cell.lookup else cell.columns


def strange_words(declared: Format, key: str, words: dict[str, str]) -> tuple[list[str], list[str]]:
    """The meanings among `words` that nothing in a column can have which has few, as `PreKay` among grades; and those
    few."""
    headers = set(headers_meant(declared, key))
    strange, known = list[str](), list[str]()
    for cell in (cell for mapping in declared.mappings for cell in mapping.cells.values()):
        spellings = (WORDS | declared.words).get(cell.convert)
        if spellings is not None and headers & set(_headers(cell)):
            strange += [meant for meant in words.values() if meant.lower() not in spellings]
            known += [meant for meant in spellings.values() if meant]
    return list(dict.fromkeys(strange)), list(dict.fromkeys(known))


def _ruled(mapping: Mapping, words: dict[str, dict[str, str]], cased: dict[str, Case]) -> Mapping:
    cells = {
        column: replace(
            cell,
            lookup=_looked_up(cell.lookup, words),
            words=tuple(pair for header in _headers(cell) for pair in words.get(header, {}).items()),
            case=next((cased[header] for header in _headers(cell) if header in cased), None),
        )
        for column, cell in mapping.cells.items()
    }
    return replace(mapping, cells=cells, when=tuple(_translated(when, words) for when in mapping.when))


def _translated(when: When, words: dict[str, dict[str, str]]) -> When:
    """The same condition on the district's words: `pupil` where that means `student`."""
    when = replace(when, lookup=_looked_up(when.lookup, words))
    header = when.lookup.column if when.lookup else when.column
    own = {given.lower(): meant.lower() for given, meant in words.get(header, {}).items()}
    if not own or not when.one_of:
        return when
    same = [word for word in when.one_of if word not in own]
    return replace(when, one_of=(*same, *(given for given, meant in own.items() if meant in when.one_of)))


def _looked_up(lookup: Lookup | None, words: dict[str, dict[str, str]]) -> Lookup | None:
    return lookup and replace(lookup, when=tuple(_translated(when, words) for when in lookup.when))


def _passing(passed: Passed, words: dict[str, dict[str, str]]) -> Passed:
    return replace(passed, when=tuple(_translated(when, words) for when in passed.when))


def _skipping(spec: FileSpec, declared: Format, skip: Iterable[Skip], words: dict[str, dict[str, str]]) -> FileSpec:
    """The file with the lines that are left out of it; a column that only a rule names is one that it may have."""
    ours = [one for one in skip if one.file == spec.name]
    columns = [_column(spec, declared, one.column) for one in ours]
    passed = [
        Passed((When(column, tuple(value.lower() for value in one.one_of)),), _why(column, one.one_of), _rule(one))
        for column, one in zip(columns, ours, strict=True)
    ]
    known = tuple(dict.fromkeys((*spec.known, *columns)))
    return replace(spec, known=known, passed=(*passed, *(_passing(one, words) for one in spec.passed)))


def _column(spec: FileSpec, declared: Format, named: str) -> str:
    (column,) = declared.expected(spec, [named])
    return column


def _why(column: str, values: Sequence[str]) -> str:
    return f"whose {column} is {' or '.join(values)}"


def _rule(skip: Skip) -> str:
    return f"`source.skip` of {skip.file}, {skip.column}"
