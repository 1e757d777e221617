"""Reads one small YAML file that somebody wrote by hand: bounded, and with an error that names the line.

Errors quote nothing of the file but the names of its keys, because a password may stand anywhere in it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from enrollsync.words.errors import ConfigurationError

_MOST_BYTES = 1_000_000
_MOST_VALUES = 100_000
"""Keys and values, those that an alias repeats counted each time."""
_DEEPEST = 20
_Fastest: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader in C where PyYAML was built with it."""


def read_yaml(path: Path) -> object:
    """What the file says. Raises ConfigurationError with file, line and what is wrong.

    Dates stay text. A key that stands there twice is refused, and so is a file that is larger, deeper, or by its
    aliases longer, than anybody writes.
    """
    try:
        content = path.read_bytes()[: _MOST_BYTES + 1]
        if len(content) > _MOST_BYTES:
            raise ConfigurationError(f"{path}: is larger than {_MOST_BYTES:,} bytes; name a district file")
        text = content.decode()
        _bound(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not readable as YAML: {_problem(error)}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        said = f"line {line}: a byte is not UTF-8; save the file as UTF-8"
        raise ConfigurationError(f"{path}: not readable as YAML: {said}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None


def _bound(text: str) -> None:
    """Refuse what would keep the reader busy, before it is built: the events come one by one."""
    anchored: dict[str | None, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    values = 0
    for event in yaml.parse(text, Loader=_Fastest):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
            if len(open_nodes) > _DEEPEST:
                raise _refusal(f"more than {_DEEPEST} levels deep; indent less", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                anchored[anchor] = values - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in dict(open_nodes):
                raise _refusal("an alias stands within what it repeats; write it out", event)
            values += anchored.get(event.anchor, 0)
        values += isinstance(event, yaml.NodeEvent)
        if values > _MOST_VALUES:
            raise _refusal(f"more than {_MOST_VALUES:,} values, with what aliases repeat; write fewer", event)


def _refusal(problem: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)  # type: ignore[arg-type]


class _Loader(_Fastest):  # type: ignore[misc]
    """Leaves dates text, which the settings read and name by their key, and refuses a key that stands there twice."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _Fastest.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        """The file's one document as nodes, before merge keys are put in the place of what they name."""
        root: yaml.Node | None = super().get_single_node()
        _refuse_doubled_keys(root)
        return root

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """A node's value; what looks like a number and is none is named by its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            problem = f"cannot be read as {kind}; write text in quotation marks"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from None


def _refuse_doubled_keys(root: yaml.Node | None) -> None:
    """YAML's reader would take the last one, and nobody would see it."""
    waiting, known = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in known:
            continue
        known.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _refuse_doubled([key for key, _ in node.value])
            waiting.extend(value for _, value in node.value)
        else:
            waiting.extend(node.value)


def _refuse_doubled(keys: list[yaml.Node]) -> None:
    found: set[tuple[str, str]] = set()
    for key in keys:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in found:
                problem = f"`{shown_key(key.value)}` stands there twice; remove one"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            found.add((key.tag, key.value))


def shown_key(key: str) -> str:
    """A key as a message may name it; one that is no word may be a value that has lost its key."""
    return key if re.fullmatch(r"[\w .-]{1,60}|\[key\]", key) else "…"


def _problem(error: yaml.YAMLError) -> str:
    """The first line of what the reader says, without what it quotes; its own marks are short."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    said = ", ".join(part for part in (error.context, error.problem) if part)
    unquoted = re.sub("'[^']{2,}'", "'…'", said)
    return f"line {error.problem_mark.line + 1}: {unquoted}"
