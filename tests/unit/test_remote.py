"""How a delivery that lies elsewhere becomes the run's own copy: chosen as in a folder, whole, or refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from enrollsync.arrive.choose import Entry
from enrollsync.arrive.remote import fetch
from enrollsync.words.errors import Refused, Unreachable

NOON = 1_790_000_000.0


@dataclass
class Server:
    """Files by path, with their times; `faults` are asked before a file of that name is read."""

    files: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    faults: dict[str, Callable[[Server], bytes | None]] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)

    def put(self, path: str, content: bytes = b"x\n", *, at: float = NOON) -> None:
        self.files[path] = (content, at)

    def look(self, path: str) -> Entry | None:
        name = path.rpartition("/")[2]
        if path in self.files:
            content, at = self.files[path]
            return Entry(path, name, len(content), at, path in self.links)
        beneath = {one[len(path) + 1 :].split("/")[0] for one in self.files if one.startswith(f"{path}/")}
        within = tuple(filter(None, (self.look(f"{path}/{one}") for one in sorted(beneath))))
        return Entry(path, name, 0, NOON, within=within) if beneath else None

    def is_whole_zip(self, path: str) -> bool:
        return zipfile.is_zipfile(io.BytesIO(self.files[path][0]))

    def pieces(self, path: str) -> Iterator[bytes]:
        name = path.rpartition("/")[2]
        self.read.append(name)
        content = self.faults.get(name, lambda server: None)(self)
        yield self.files[path][0] if content is None else content


@pytest.fixture
def server() -> Server:
    return Server()


def fetched(server: Server, target: Path, ready: str | int | None = None) -> dict[str, bytes]:
    place = fetch(server, "in", ready, target, lambda said: None)
    return {path.name: path.read_bytes() for path in ([place] if place.is_file() else place.iterdir())}


def refusal(server: Server, target: Path, ready: str | int | None = None) -> str:
    with pytest.raises(Refused) as refused:
        fetched(server, target, ready)
    return str(refused.value)


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("users.csv", "x\n")
    return stream.getvalue()


def test_the_newest_complete_delivery_is_copied_with_its_times_for_its_owner_alone(
    server: Server, tmp_path: Path
) -> None:
    server.put("in/monday/users.csv", b"monday", at=NOON)
    server.put("in/monday/notes.txt")
    server.put("in/tuesday/users.csv", b"tuesday", at=NOON + 60)
    server.put("in/tuesday/schools.csv.part", at=NOON + 60)
    server.put("in/wednesday.zip", zipped()[:-9], at=NOON + 90)
    assert fetched(server, tmp_path) == {"users.csv": b"monday"}
    (copy,) = (tmp_path / "arrived").iterdir()
    assert (copy.stat().st_mtime, copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777) == (
        NOON, 0o600, 0o700,
    )  # fmt: skip
    server.put("in/wednesday.zip", zipped(), at=NOON + 90)
    assert fetched(server, tmp_path) == {"wednesday.zip": zipped()}, "and nothing of the other is left"


def test_a_marker_tells_elsewhere_too_that_a_delivery_is_complete(server: Server, tmp_path: Path) -> None:
    server.put("in/users.csv")
    assert refusal(server, tmp_path, ".done").startswith("FILE-INCOMPLETE: the delivery in lacks .done")
    server.put("in.done")
    assert fetched(server, tmp_path, ".done") == {"users.csv": b"x\n"}


def grown(server: Server) -> None:
    server.put("in/users.csv", b"x\ny\n", at=NOON + 1)


def gone(server: Server) -> None:
    server.files.clear()


@pytest.mark.parametrize(("fault", "said"), [
    (lambda server: b"x", "FILE-INCOMPLETE users.csv: it was listed with 2 bytes and came with 1; wait"),
    (lambda server: b"x\ny\n", "FILE-INCOMPLETE users.csv: it was listed with 2 bytes and came with more; wait"),
    (lambda server: grown(server) or b"x\n", "FILE-INCOMPLETE: a file changed while it was read; wait"),
    (lambda server: server.put("in/classes.csv"), "FILE-INCOMPLETE: a file changed while it was read; wait"),
    (lambda server: server.put("in/classes.csv.part"), "FILE-INCOMPLETE: a file changed while it was read; wait"),
    (lambda server: gone(server) or b"x\n", "FILE-INCOMPLETE: the delivery in went while it was looked at; wait"),
], ids=["shorter", "longer", "written to", "another file", "another still arriving", "gone"])  # fmt: skip
def test_a_delivery_that_changes_while_it_is_copied_is_refused(
    server: Server, tmp_path: Path, fault: Callable[[Server], bytes | None], said: str
) -> None:
    server.put("in/users.csv")
    server.faults["users.csv"] = fault
    assert refusal(server, tmp_path).startswith(said)


def test_what_was_copied_before_the_line_broke_is_not_read_again(server: Server, tmp_path: Path) -> None:
    def breaks(_: Server) -> bytes:
        raise Unreachable("the server does not answer")

    server.put("in/schools.csv")
    server.put("in/users.csv")
    server.put("in/old.csv")
    server.faults["users.csv"] = breaks
    with pytest.raises(Unreachable):
        fetched(server, tmp_path)
    server.faults.clear()
    server.put("in/old.csv", b"new\n", at=NOON + 1)
    server.read.clear()
    assert fetched(server, tmp_path) == {"schools.csv": b"x\n", "users.csv": b"x\n", "old.csv": b"new\n"}
    assert server.read == ["old.csv", "users.csv"]


@pytest.mark.parametrize(("name", "said"), [
    ("a\udcff.csv", "its name has characters that a delivery's files do not have"),
    ("users\0.csv", "its name has characters that a delivery's files do not have"),
    ("link.csv", "it is a link, and links are not followed"),
], ids=["no text", "NUL", "link"])  # fmt: skip
def test_a_file_that_must_not_get_its_name_here_or_is_a_link_is_refused(
    server: Server, tmp_path: Path, name: str, said: str
) -> None:
    server.put(f"in/{name}")
    server.links.add("in/link.csv")
    assert said in refusal(server, tmp_path)
    assert refusal(server, tmp_path).startswith("FILE-UNSAFE") and server.read == []
