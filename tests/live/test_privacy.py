"""No name, email or identifier of anybody, and no secret, is where people look who may not see the roster.

Every way through a district is gone once, with deliveries in which each value of a person has a mark (`marked_people`).
Then whatever Airflow has kept or sent is searched for it: every log file, every column of every table of its database,
every message, metric and trace, and what PostgreSQL wrote into its own log.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest

from enrollsync.report.wording import OUTCOMES
from enrollsync.run.step import NIGHT
from enrollsync.run.workspace import OPERATIONS
from enrollsync.sample import write_sample
from enrollsync.words.canonical import BY_NAME
from enrollsync.words.codes import CODES
from figures_named import as_prometheus, named
from live.district import District
from live.services import LOCAL, Airflow, started, until
from marked_people import MARK, SSN, mark, mark_delivery
from messages import WEBHOOK_KEY, Mailbox, Webhook, mail_server, webhook_receiver
from telemetry import Telemetry, receiving

pytestmark = pytest.mark.slow

WANTED = (*LOCAL, "redis", "worker-1")
"""Tasks run on a Celery worker, as the compose file has it."""
HELD = {"deactivate_percent": 10, "update_percent": 5, "floor": 1, "fields": {"given_name": 100, "family_name": 100}}
JSON = {"Accept": "application/json"}
_TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")
"""A JSON web token, of whomever."""


@dataclass
class World:
    """An Airflow in which all of it has happened."""

    airflow: Airflow
    telemetry: Telemetry
    mailbox: Mailbox
    webhook: Webhook
    district: District
    runs: dict[str, str] = field(default_factory=dict)
    """What happened -> the run."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with ExitStack() as stack:
        telemetry = stack.enter_context(receiving())
        box, hook = stack.enter_context(mail_server()), stack.enter_context(webhook_receiver())
        told = {"AIRFLOW_CONN_SMTP_DEFAULT": box.uri, "AIRFLOW_CONN_HOOK": hook.connection}
        airflow = stack.enter_context(started({**telemetry.settings, **told}, WANTED))
        made = World(airflow, telemetry, box, hook, District(airflow, "adams"))
        live_through(made)
        yield made


# ---- what happens ----------------------------------------------------------------------------------------------------


def live_through(world: World) -> None:
    """A dirty first delivery, visits, a hold that is approved, an undo, and what is turned away in every way."""
    airflow, adams = world.airflow, world.district
    notify = {"email": ["office@example.org"], "webhook": "hook"}
    write_sample(adams.landing, "batch_upload", students=60, seed=3, dirt=0.05)
    (adams.landing / "answers.json").unlink()
    mark_delivery(adams.landing)
    redeliver(adams, in_need_of_a_look())
    airflow.add_district(
        "adams", thresholds=HELD, notify=notify, source={"path": "data/landing/adams", "mode": "delta"}
    )
    write_sample(airflow.home / "data" / "landing" / "burr", "clever", students=30, seed=4, dirt=0.05)
    mark_delivery(airflow.home / "data" / "landing" / "burr")
    airflow.add_district("burr", primary_source="clever", notify=notify)
    burr = airflow.trigger("enrollment_sync__burr")

    world.runs["first"] = run_of(world)
    good = (adams.landing / "users.csv").read_bytes()
    visit(world)
    redeliver(adams, changed_names())
    world.runs["approved"] = run_of(world, "Approve", "looked right")
    world.runs["undone"] = airflow.trigger(adams.undo, {"run": world.runs["approved"]})
    answer(world, adams.undo, world.runs["undone"], "Approve")
    redeliver(adams, lambda row: row | {"userFirstName": f"{MARK.title()}again"})
    world.runs["rejected"] = run_of(world, "Reject")
    (adams.landing / "users.csv").write_bytes(b"".join(good.splitlines(keepends=True)[1:]))
    world.runs["without a header"] = run_of(world, ends="failed")
    (adams.landing / "users.csv").write_bytes(good[:-200].replace(b"Qzxvk", b"Qzxvk\xff"))
    world.runs["undecodable"] = run_of(world, ends="failed")
    (adams.landing / "users.csv").write_bytes(good)
    world.runs["clash"] = clash_in_the_database(world)
    airflow.wait("enrollment_sync__burr", burr)


def run_of(world: World, said: str | None = None, comment: str | None = None, ends: str = "success") -> str:
    """A run by hand; `said`: how the plan is answered that waits then."""
    run_id = world.airflow.trigger(world.district.sync)
    if said is None:
        world.airflow.wait(world.district.sync, run_id, {ends})
    else:
        answer(world, world.district.sync, run_id, said)
    return run_id


def answer(world: World, dag_id: str, run_id: str, said: str) -> None:
    world.airflow.wait_for_task(dag_id, run_id, "approve", {"awaiting_input"})
    world.airflow.answer(dag_id, run_id, "approve", said)
    world.airflow.wait(dag_id, run_id)


def redeliver(district: District, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    """Deliver again what `change` makes of each line with a person in all its fields; the dirt stays as it is."""
    users = district.landing / "users.csv"
    header, *lines = users.read_text().splitlines()
    names = header.split(",")
    cells = [line.split(",") for line in lines]
    changed = [
        [*change(dict(zip(names, row, strict=True))).values()] if len(row) == len(names) and '"' not in row[-1] else row
        for row in cells
    ]
    users.write_text("".join(",".join(row) + "\n" for row in [names, *changed]))


def in_need_of_a_look() -> Any:
    """Of a sample's rows: one gets an identifier that could be a social security number."""
    first: list[str] = []

    def changed(row: dict[str, str]) -> dict[str, str]:
        first.append(row["userId"])
        return row | {"userId": SSN} if row["userId"] == first[0] else row

    return changed


def changed_names() -> Any:
    """Everybody gets another first name; one person another identifier besides, one identifier another person."""
    seen: dict[str, int] = {}

    def changed(row: dict[str, str]) -> dict[str, str]:
        number = seen.setdefault(row["userId"], len(seen))
        row = row | {"userFirstName": f"{MARK.title()}another"}
        if number == 5:
            return row | {
                "userLastName": mark("Other"),
                "userEmail": "qzxvkother@demo.example",
                "userBirthDate": "2011-01-01",
            }
        return row | {"userId": f"{row['userId']}9"} if number == 7 else row

    return changed


def visit(world: World) -> None:
    """Whatever a person does in the portal: they look for people, change one, and send files."""
    airflow, home = world.airflow, f"{world.airflow.place.address}/roster/districts/adams"
    for page in ("", "/runs", "/waiting", "/doctor", "/quality", "/upload", f"/runs/{world.runs['first']}"):
        for accept in (JSON, {"Accept": "text/html"}):
            airflow.client.get(f"{home}{page}", headers=accept).raise_for_status()
    found = airflow.client.get(f"{home}/users?q=QzxvkBarnes", headers=JSON).json()["found"]
    profile = f"{home}/users/{found[0]['key']}"
    for page in (profile, f"{profile}/merge?other=QZXVK7012270", f"{home}/users?q=%51zxvk&page=1"):
        airflow.client.get(page, headers={"Accept": "text/html"}).raise_for_status()
    for accept in ("text/html", "application/json"):  # nobody in particular asks for somebody
        httpx.get(f"{home}/users?q=QzxvkBarnes", headers={"Accept": accept}, follow_redirects=True)
    page = airflow.client.get(profile, headers={"Accept": "text/html"}).text
    asked = form_of(page) | {"reason": "the family asked", "identifier": "QZXVK300"}
    looked = airflow.client.post(profile, data=asked, headers={"Accept": "text/html"})
    looked.raise_for_status()
    assert airflow.client.post(profile, data=form_of(looked.text)).status_code == 303
    users = (world.district.landing / "users.csv").read_bytes()
    sent = airflow.client.post(f"{home}/upload", files=[("files", ("users.csv", users))], data={"token": ""})
    assert sent.status_code == 303, sent.text
    upload = f"{airflow.place.address}{httpx.URL(sent.headers['location']).path}"
    state: list[str] = []

    def is_checked() -> bool:
        state.append(airflow.client.get(upload, headers=JSON).json()["upload"]["state"])
        return state[-1] != "working"

    until(is_checked, 120, lambda: upload)
    assert state[-1] == "checked"
    airflow.client.get(upload, headers={"Accept": "text/html"}).raise_for_status()
    airflow.client.post(f"{home}/users/{2**61}", data={"reason": "QZXVK", "seen": "x"})


def form_of(page: str) -> dict[str, str]:
    """What a browser would send of the page's last form."""
    forms = re.findall(r'<form method="post".*?</form>', page, re.DOTALL)
    assert forms, page
    form = forms[-1]
    told = [dict(re.findall(r'(name|value)="([^"]*)"', one)) for one in re.findall(r"<input([^>]*)>", form)]
    return {one["name"]: one.get("value", "") for one in told}


def clash_in_the_database(world: World) -> str:
    """A load that PostgreSQL refuses, in words that quote the row: somebody wrote past the program meanwhile."""
    airflow, adams = world.airflow, world.district
    somebody = ",0001,,0001ART2P1S1,,,QZXVKNEW{0},,,student,QzxvkN{0},,QzxvkC,qzxvk{0}@demo.example,4,2016-02-0{0},\n"
    with (adams.landing / "users.csv").open("a") as file:
        file.writelines(somebody.format(number) for number in range(1, 9))
    redeliver(adams, changed_names())
    run_id = airflow.trigger(adams.sync)
    airflow.wait_for_task(adams.sync, run_id, "approve", {"awaiting_input"})
    with psycopg.connect(airflow.roster_url) as database:
        database.execute(
            "INSERT INTO users (district_id, user_key, source_key, user_id, role, status, source, email) "
            "SELECT district_id, 999999, 'student:QZXVKNEW3', 'QZXVKNEW3', 'student', 'active', source, 'qzxvk@x.de' "
            "FROM users WHERE district_id = 'adams' LIMIT 1"
        )
    airflow.answer(adams.sync, run_id, "approve", "Approve")
    airflow.wait_for_task(adams.sync, run_id, "load", {"up_for_retry", "failed", "success"})
    return run_id


# ---- where it is looked for ------------------------------------------------------------------------------------------

Places = Iterator[tuple[str, bytes]]
"""A place's name, and what stands there."""


def logs(world: World) -> Places:
    """Of services, PostgreSQL's two among them, and of tasks."""
    for path in sorted((world.airflow.home / "logs").rglob("*")):
        if path.is_file():
            yield f"log {path.relative_to(world.airflow.home)}", path.read_bytes()


def metadata(world: World) -> Places:
    """Every value of every table of Airflow's database, of whichever type."""
    address = world.airflow.place.url_of("airflow-db")
    with psycopg.connect(address) as database:
        tables = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
        for (table,) in tables:
            cursor = database.execute(f'SELECT * FROM "{table}"')  # type: ignore[arg-type]
            names = [column.name for column in cursor.description or ()]
            for row in cursor:
                for name, value in zip(names, row, strict=True):
                    yield f"table {table}.{name}", as_bytes(value)


def as_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | memoryview):
        raw = bytes(value)
        try:
            return zlib.decompress(raw)
        except zlib.error:
            return raw
    return (value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)).encode()


def sent(world: World) -> Places:
    """Messages to people, and what was sent of figures and times."""
    for message in world.mailbox.received:
        text = "".join(part.get_content() for part in message.walk() if part.get_content_maintype() == "text")
        yield "email", f"{message['subject']}\n{message['to']}\n{text}".encode()
    for _, posted in world.webhook.posted:
        yield "webhook", json.dumps(posted, ensure_ascii=False).encode()
    for datagram in list(world.telemetry.datagrams):
        yield "metric", datagram
    for body in list(world.telemetry.spans_sent):
        yield "trace", body


def everything(world: World) -> Places:
    yield from logs(world)
    yield from metadata(world)
    yield from sent(world)


def leaks(places: Places, *words: str) -> dict[str, str]:
    """Place -> the surroundings of the first of `words` there, whatever its case."""
    sought = re.compile(b"|".join(re.escape(word.encode()) for word in words), re.IGNORECASE)
    found = {}
    for place, content in places:
        if hit := sought.search(content):
            found.setdefault(place, content[max(0, hit.start() - 100) : hit.end() + 60].decode(errors="replace"))
    return found


def secrets(world: World) -> dict[str, str]:
    """What nobody may know -> its value."""
    token = world.airflow.client.headers["Authorization"].removeprefix("Bearer ")
    random = {name: value for name, value in world.airflow.place.secrets.items() if not value.startswith("http")}
    return {**random, "session": token.rpartition(".")[2], "webhook": WEBHOOK_KEY}


# ---- the tests -------------------------------------------------------------------------------------------------------


def test_all_of_it_has_happened(world: World) -> None:
    adams = world.district
    outcomes = {what: adams.run(run_id)[0] for what, run_id in world.runs.items() if what != "clash"}
    assert outcomes == {
        "first": "applied", "approved": "applied", "undone": "undone", "rejected": "rejected",
        "without a header": "refused", "undecodable": "refused",
    }  # fmt: skip
    assert world.airflow.tasks(adams.sync, world.runs["clash"])["load"] == "up_for_retry"
    people = adams.rows("SELECT given_name, family_name, email, user_id FROM roster_users WHERE district_id = 'adams'")
    marked = [row for row in people if all(MARK in (value or MARK).lower() for value in row)]
    assert len(people) > 60 and len(people) - len(marked) <= 2, "whom the search is for"
    assert adams.rows("SELECT 1 FROM roster_identifier_history WHERE district_id = 'adams' AND new_id = 'QZXVK300'")
    assert {message["subject"].partition(": ")[2] for message in world.mailbox.received} >= {
        "applied, with findings", "a plan waits for your approval", "a plan was not applied",
        "the delivery was refused",
    }  # fmt: skip
    assert len(world.webhook.posted) == len(world.mailbox.received)
    assert world.telemetry.datagrams and world.telemetry.spans_sent
    places = {place.partition(".")[0] for place, content in metadata(world) if content != b"null"}
    assert places >= {f"table {name}" for name in (
        "xcom", "rendered_task_instance_fields", "dag_run", "dag_run_note", "task_instance_note", "hitl_detail", "log",
        "serialized_dag", "asset_event", "task_instance", "job",
    )}  # fmt: skip


def test_no_log_row_message_metric_or_trace_has_anything_of_a_person(world: World) -> None:
    assert leaks(everything(world), MARK, SSN) == {}


def test_none_of_them_has_a_secret(world: World) -> None:
    assert leaks(everything(world), *secrets(world).values()) == {}
    assert {place: content for place, content in everything(world) if _TOKEN.search(content)} == {}


def test_no_file_outside_of_the_runs_folders_has_anything_of_a_person_either(world: World) -> None:
    private = {world.airflow.home / "data"}
    files = (
        (str(path), path.read_bytes())
        for path in world.airflow.home.rglob("*")
        if path.is_file() and not private & {*path.parents}
    )
    assert leaks(files, MARK, SSN) == {}


def test_no_file_of_a_run_has_a_secret(world: World) -> None:
    data = world.airflow.home / "data"
    files = ((str(path), path.read_bytes()) for path in data.rglob("*") if path.is_file())
    assert leaks(files, *secrets(world).values()) == {}


# ---- what is sent of figures and times -------------------------------------------------------------------------------


def test_every_figure_that_the_dashboard_and_the_alerts_ask_for_was_sent(world: World) -> None:
    sent: dict[str, set[str]] = {}
    for metric in world.telemetry.metrics:
        sent.setdefault(as_prometheus(metric.name), set()).update(metric.tags)
    assert [(metric, labels) for metric, labels in named() if not labels <= sent.get(metric, {"none"})] == []
    assert {metric for metric, _ in named()} <= sent.keys()


def test_figures_of_ours_are_told_apart_by_words_of_the_program_alone(world: World) -> None:
    ours = [metric for metric in world.telemetry.metrics if metric.name.startswith("airflow.enrollsync.")]
    words = {
        "district": {"adams", "burr"}, "outcome": {*OUTCOMES}, "entity": {*BY_NAME}, "operation": {*OPERATIONS},
        "code": {*CODES}, "step": {step.name for step in NIGHT}, "kind": {"sync", "undo"},
    }  # fmt: skip
    assert {metric.name.rpartition(".")[2] for metric in ours} == {
        "runs", "changed", "rows_read", "rejected", "held", "findings", "step_seconds", "last_good", "plan_waits",
    }  # fmt: skip
    strange = [one for one in ours for tag, value in one.tags.items() if value not in words[tag]]
    assert strange == []
    waited = [one.value for one in ours if one.name.endswith("plan_waits") and one.tags["kind"] == "sync"]
    assert {"0", "1"} == {*waited}


def test_a_run_is_one_trace_from_its_first_task_to_its_end(world: World) -> None:
    until(lambda: any(span.name == f"dag_run.{world.district.undo}" for span in world.telemetry.spans), 60, str)
    told: dict[str, list[Any]] = {}
    for span in world.telemetry.spans:
        attributes = {one.key: one.value.string_value for one in span.attributes}
        told.setdefault(attributes.get("airflow.dag_run.run_id", ""), []).append(span)
    for what in ("first", "approved", "undone"):
        spans = told[world.runs[what]]
        assert len({span.trace_id for span in spans}) == 1, what
        tasks = {span.name.removeprefix("task_run.") for span in spans if span.name.startswith("task_run.")}
        expected = {"plan", "approve", "undo", "report"}
        assert tasks == (expected if what == "undone" else {"ingest", "validate", "load"} | expected - {"undo"})
        assert len([span for span in spans if span.name.startswith("dag_run.")]) == 1


def test_portal_is_well_and_tells_so_to_nobody_in_particular(world: World) -> None:
    answer = httpx.get(f"{world.airflow.place.address}/roster/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "database": True})


def test_what_is_planted_is_found(world: World) -> None:
    """Last: it puts somebody into a log, an XCom, a note, a metric and a message, and nothing takes them out again."""
    airflow, adams, run_id = world.airflow, world.district, world.runs["first"]
    somebody = "Qzxvkplanted"
    (airflow.home / "logs" / "planted.log").write_text(f'{{"event": "looked at {somebody}"}}\n')
    task = f"dags/{adams.sync}/dagRuns/{run_id}/taskInstances/report"
    airflow.call("POST", f"{task}/xcomEntries", key="planted", value={"name": somebody})
    airflow.call("PATCH", f"dags/{adams.sync}/dagRuns/{run_id}", note=f"of {somebody}")
    world.telemetry.datagrams.append(f"airflow.planted,user={somebody}:1|c".encode())
    world.webhook.posted.append(("/", {"text": somebody.upper()}))
    found = leaks(everything(world), MARK)
    assert {"log logs/planted.log", "table xcom.value", "table dag_run_note.content", "metric", "webhook"} <= {*found}
