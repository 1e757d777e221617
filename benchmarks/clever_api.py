"""How long Clever's API takes to read, and how much memory: `python -m benchmarks.clever_api`; set by the environment.

SIZE    students (1000000); a twentieth as many teachers, and a section for every four students with 24 of them
FOLDER  where the answers are made, and used again when they are there (data/bench/clever_api)

The answers lie in files, a page each, and a server in a process of its own only sends them, over loopback. Measured is
a process that asks for all of them and writes the delivery's files: what ingest does before it parses CSV.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import duckdb

from benchmarks.measure import measure
from enrollsync.arrive import found_batch
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.settings.connections import Connection

ROOT = Path(__file__).resolve().parents[1]
PAGE = 10_000
SCHOOLS = 500
_KEY = "printf('{}%022x', {})"
"""A record's `id` in the form of Clever's, by the first two digits of its kind."""


def key(kind: str, number: str) -> str:
    return _KEY.format(kind, number)


def records(students: int) -> dict[str, tuple[int, str]]:
    """Title -> how many there are, and SQL for the JSON of record `number`."""
    teachers, sections = max(students // 20, 1), max(students // 4, 1)
    school = key("aa", f"number % {SCHOOLS}")
    person = "'email', 'p' || number || '@demo.example', 'name', json_object('first', 'Given' || number % 997, " \
        "'middle', NULL, 'last', 'Family' || number % 9973), 'created', '2024-08-01T00:00:00.000Z', " \
        "'last_modified', '2026-11-20T00:00:00.000Z', 'district', 'd'"  # fmt: skip
    own = f"'sis_id', printf('%07d', number), 'state_id', printf('9%09d', number), 'school', {school}, " \
        f"'schools', json_array({school}), 'credentials', json_object('district_username', 'p' || number)"  # fmt: skip
    attending = f"list_transform(range(24), lambda one: {key('bb', f'(number * 4 + one * 7) % {students}')})"
    teacher = key("cc", f"number % {teachers}")
    return {
        "students": (students, f"json_object('id', {key('bb', 'number')}, {person}, 'roles', json_object('student', "
                     f"json_object({own}, 'student_number', printf('%08d', number), 'grade', CAST(number % 12 + 1 AS "
                     "VARCHAR), 'dob', '3/9/2015', 'gender', 'F', 'race', 'Asian', 'home_language', 'English', "
                     "'location', json_object('address', '1 Main Street', 'city', 'Demo', 'zip', '70000'))))"),
        "teachers": (teachers, f"json_object('id', {key('cc', 'number')}, {person}, 'roles', json_object('teacher', "
                     f"json_object({own}, 'teacher_number', printf('T%07d', number))))"),
        "sections": (sections, f"json_object('id', {key('dd', 'number')}, 'sis_id', 'X' || number, 'name', 'Class ' || "
                     f"number, 'school', {school}, 'subject', 'math', 'period', '3', 'teacher', {teacher}, "
                     f"'teachers', json_array({teacher}), 'students', {attending})"),
        "schools": (SCHOOLS, f"json_object('id', {key('aa', 'number')}, 'sis_id', 'S' || number, 'name', 'School')"),
    }  # fmt: skip


def make(folder: Path, students: int) -> None:
    """Write every answer that is asked for, as `<title>/<record after which it starts, or first>.json`."""
    connection = duckdb.connect()
    for title, (count, record) in records(students).items():
        (folder / title).mkdir(parents=True, exist_ok=True)
        after = "first"
        for start in range(0, count, PAGE):
            end = min(start + PAGE, count)
            found = connection.execute(
                f"SELECT string_agg(json_object('data', {record})::VARCHAR, ',' ORDER BY number), "
                f"max(({record})->>'id') FROM range({start}, {end}) AS _(number)"
            ).fetchone()
            text, last = found or ("", "")
            links = [{"rel": "next", "uri": f"/v3.1/x?starting_after={last}"}] if end < count else []
            rest = f'],"links":{json.dumps(links)},"count":{count}}}'
            (folder / title / f"{after}.json").write_text(f'{{"data":[{text}{rest}')
            after = str(last)
    (folder / "made").touch()


class Answers(BaseHTTPRequestHandler):
    """Sends what lies there."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    counts: dict[str, int] = {}  # noqa: RUF012

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(split.query).items()}
        title = {"student": "students", "teacher": "teachers"}.get(asked.get("role", ""), asked.get("role"))
        title = title or split.path.rpartition("/")[2]
        path = self.folder / title / f"{asked.get('starting_after', 'first')}.json"
        if title == "districts":
            body = b'{"data":[{"data":{"id":"d","last_sync":"2026-11-22T23:10:00.000Z"}}]}'
        elif asked.get("limit") == "1":
            body = json.dumps({"data": [], "links": [], "count": self.counts.get(title, 0)}).encode()
        else:
            body = path.read_bytes() if path.is_file() else b'{"data":[],"links":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def serve(folder: Path, students: int) -> None:
    Answers.folder, Answers.counts = folder, {title: count for title, (count, _) in records(students).items()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def fetch(url: str, folder: Path) -> None:
    district = District.model_validate({
        "district_id": "bench", "name": "Bench", "primary_source": "clever", "database": {"url": "sqlite:///none.db"},
        "source": {"api": "clever", "connection": "clever"},
    })  # fmt: skip
    manifest = RunManifest(run_id="run", district="bench", as_of=datetime(2026, 11, 23, tzinfo=UTC))
    run = Run(Workspace(folder / "run").create(), manifest, district, None)
    with found_batch(run, Connection("clever", {"host": url, "password": "token"})) as batch:
        sizes = [path.stat().st_size for path in batch.delivery.files.values()]
        print(f"{len(sizes)} files of {sum(sizes) / 1e6:,.0f} MB")


def main() -> None:
    students = int(os.environ.get("SIZE", "1000000"))
    folder = Path(os.environ.get("FOLDER", ROOT / "data" / "bench" / "clever_api")) / str(students)
    if not (folder / "made").exists():
        make(folder, students)
    this = [sys.executable, "-m", "benchmarks.clever_api"]
    answers = sum(path.stat().st_size for path in folder.rglob("*.json"))
    with subprocess.Popen([*this, "--serve", str(folder), str(students)], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            taken = measure([*this, "--fetch", url, str(folder)], timeout=3600, env=os.environ, cwd=ROOT)
        finally:
            server.terminate()
    print(taken.error or taken.output.strip())
    print(
        f"{students:,} students, {answers / 1e6:,.0f} MB of answers: {taken.seconds:.1f} s, "
        f"{taken.cpu_seconds:.1f} CPU s, {taken.peak_mib:,.0f} MiB at most"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--fetch"]:
        fetch(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
