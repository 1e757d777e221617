"""Every example of docs/identifiers.md, run as it stands there."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nightly import Nightly, faults

PAGE = Path(__file__).resolve().parents[2] / "docs" / "identifiers.md"
_BLOCK = re.compile(r"^```(?:csv|text) (?P<title>.+?)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block of the page."""

    title: str
    body: str


def examples() -> Iterator[Any]:
    """The blocks of each section that has any, under its heading."""
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        blocks = [Block(**found.groupdict()) for found in _BLOCK.finditer(section)]
        if blocks:
            yield pytest.param(blocks, id=heading)


def promised(outcome: str) -> tuple[str, dict[str, dict[str, int]]]:
    """`applied; users: create 1, held 2; findings: ID-CASE 2` as the outcome and the numbers of each part."""
    first, *parts = outcome.strip().split("; ")
    numbers = {}
    for part in parts:
        name, _, listed = part.partition(": ")
        numbers[name] = {word: int(n) for word, n in (one.rsplit(" ", 1) for one in listed.split(", "))}
    return first, numbers


def assert_ended_as_promised(result: dict[str, Any], outcome: str) -> None:
    expected, numbers = promised(outcome)
    assert result["outcome"] == expected
    findings = numbers.pop("findings", {})
    assert faults(result) == findings
    for entity, counts in numbers.items():
        assert result["counts"][entity] == dict.fromkeys(result["counts"][entity], 0) | counts


def assert_view_has(nightly: Nightly, view: str, table: str) -> None:
    header, *rows = csv.reader(table.strip().splitlines())
    found = nightly.view(view.removeprefix("roster_"), ", ".join(header))
    assert sorted(tuple(value or "" for value in row) for row in found) == sorted(map(tuple, rows))


def deliveries(blocks: list[Block]) -> Iterator[tuple[str, Block | dict[str, str]]]:
    """The blocks in order, those of one night as one delivery: file name -> text."""
    for night, together in itertools.groupby(blocks, lambda block: block.title.partition(":")[0]):
        if night.startswith("night "):
            yield "deliver", {block.title.partition(": ")[2]: block.body for block in together}
        else:
            yield from ((block.title, block) for block in together)


@pytest.mark.parametrize("blocks", list(examples()))
def test_the_example_ends_as_the_page_says(nightly: Nightly, blocks: list[Block]) -> None:
    nightly.settings["thresholds"] = {"floor": 100}
    result: dict[str, Any] = {}
    for title, content in deliveries(blocks):
        match content:
            case dict():
                result = nightly.run(content)
            case Block("outcome"):
                assert_ended_as_promised(result, content.body)
            case Block("release"):
                assert_ended_as_promised(nightly.run(release=True), content.body)
            case _:
                assert_view_has(nightly, title, content.body)
