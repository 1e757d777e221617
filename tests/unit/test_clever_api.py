"""Clever's API asked page by page: what is read, what is asked again, and what is never taken for a smaller district.

The server's answers come without a socket (`httpx.MockTransport`), and nobody waits: pauses are only noted.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Response
from fastapi.responses import JSONResponse, StreamingResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clever_server import (
    TOKEN,
    CleverServer,
    Fault,
    dropped,
    first_page_again,
    from_csv,
    key,
    on,
    says,
    status,
    without,
)
from enrollsync.arrive.clever import client, fetched_by, pages
from enrollsync.arrive.clever.client import TRIES, Api
from enrollsync.arrive.delivery import Batch
from enrollsync.formats.clever_api import COLLECTIONS
from enrollsync.ingest.batch import read_batch
from enrollsync.ingest.normalise import normalise
from enrollsync.run.run import Run
from enrollsync.run.workspace import RunManifest, Workspace
from enrollsync.settings import District
from enrollsync.settings.connections import Access
from enrollsync.words.errors import Refused, Unreachable
from nightly import clever, pupil, section, tutor

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> CleverServer:
    """Seven students, two teachers, three sections and two schools, in pages of three."""
    return a_server(tmp_path)


def a_server(tmp_path: Path) -> CleverServer:
    folder = tmp_path / "csv"
    folder.mkdir(exist_ok=True)
    delivery = clever(
        [pupil(number) for number in range(7)],
        [tutor("T1"), tutor("T2")],
        [
            section(f"X{number}", Term_name="Fall", Term_start="2026-08-17", Term_end="2026-12-18")
            for number in range(3)
        ],
        [(f"X{number % 3}", f"p-{number}") for number in range(7)],
        [{"School_id": "S1", "School_name": "North"}, {"School_id": "S2", "School_name": "South"}],
    )
    for name, text in delivery.items():
        (folder / name).write_text(text)
    server = from_csv(folder)
    server.most = 3
    return server


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return a_run(tmp_path / "run")


def a_run(folder: Path) -> Run:
    district = District.model_validate({
        "district_id": "demo", "name": "Demo", "primary_source": "clever", "database": {"url": "sqlite:///none.db"},
        "source": {"api": "clever", "connection": "clever_api"},
    })  # fmt: skip
    return Run(Workspace(folder).create(), RunManifest(run_id="run", district="demo", as_of=NOW), district, None)


def answering(server: CleverServer, hosts: set[str] | None = None) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        if hosts is not None:
            hosts.add(request.url.host)
        path = request.url.path.removeprefix("/v3.1/")
        given = server.answer(path, dict(request.url.params), request.headers.get("authorization", ""))
        if isinstance(given, StreamingResponse):
            raise httpx.RemoteProtocolError("peer closed connection", request=request)
        return httpx.Response(given.status_code, headers=dict(given.headers), content=bytes(given.body))

    return httpx.MockTransport(answer)


def fetch(server: CleverServer, run: Run, naps: list[float] | None = None, **more: Any) -> Batch:
    slept = [] if naps is None else naps
    access = Access("http://localhost", TOKEN, is_local=True)
    api = Api(access, "clever_api", transport=answering(server, **more), sleep=slept.append, now=NOW.timestamp)
    return fetched_by(api, run, telling=lambda said: None)


def refusal(server: CleverServer, run: Run, *faults: Fault) -> Refused:
    server.faults, server.asked = list(faults), []
    with pytest.raises(Refused) as refused:
        fetch(server, run)
    assert TOKEN not in str(refused.value)
    assert "Given" not in str(refused.value) and "said by the server" not in str(refused.value)
    return refused.value


def rows(batch: Batch, title: str) -> list[dict[str, str]]:
    with batch.delivery.files[f"api_{title}.csv"].open(newline="") as stream:
        return list(csv.DictReader(stream))


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_every_record_is_read_once_in_the_order_of_the_answers(server: CleverServer, run: Run) -> None:
    batch = fetch(server, run)
    assert [row["id"] for row in rows(batch, "students")] == [one["id"] for one in server.of("students")]
    assert {name: len(rows(batch, name)) for name in ("schools", "teachers", "sections", "terms", "staff")} == {
        "schools": 2, "teachers": 2, "sections": 3, "terms": 1, "staff": 0,
    }  # fmt: skip
    first = rows(batch, "sections")[0]
    assert first["students"].split(",") == server.of("sections")[0]["students"]
    assert (first["teacher"], first["other_teachers"]) == (key("staff", "T1"), "")


def test_contacts_and_district_admins_are_counted_and_never_asked_for(server: CleverServer, run: Run) -> None:
    batch = fetch(server, run)
    assert [notice.message for notice in batch.notices] == [
        "7 contacts and 1 district admins are passed over: a roster does not have them"
    ]
    roles = {asked.role for asked in server.asked if asked.path == "users" and not asked.is_count}
    assert roles == {"student", "teacher", "staff"}


def test_nothing_is_kept_but_what_the_format_names_and_for_its_owner_alone(server: CleverServer, run: Run) -> None:
    server.users[0]["roles"]["student"] |= {"race": "hidden-1", "location": {"address": "hidden-2"}}
    server.faults = [lambda server, asked: status(503)(server, asked) if asked.title == "staff" else None]
    with pytest.raises(Unreachable):
        fetch(server, run)
    kept = [path for path in run.place.batch.rglob("*") if path.is_file()]
    assert kept
    server.faults = []
    batch = fetch(server, run)
    for path in [*kept, *batch.delivery.files.values()]:
        if path.exists():
            assert path.stat().st_mode & 0o077 == 0
            assert b"hidden" not in path.read_bytes()
    assert not (run.place.batch / "pages").exists()


def test_pages_of_another_size_are_the_same_delivery_and_another_value_is_another(
    server: CleverServer, tmp_path: Path
) -> None:
    digests = []
    for number, most in enumerate((3, 100, 100)):
        server.most = most
        digests.append(fetch(server, a_run(tmp_path / f"run{number}")).digest)
        server.users[0]["name"]["first"] = "Other" if number == 1 else server.users[0]["name"]["first"]
    assert digests[0] == digests[1] != digests[2]


def test_a_column_in_which_no_record_has_a_value_is_absent_and_not_empty(server: CleverServer, run: Run) -> None:
    for user in server.users:
        user["email"] = None
    assert "email" not in rows(fetch(server, run), "students")[0]
    assert {"sis_id", "school", "dob"} <= set(rows(fetch(server, run), "students")[0])


@pytest.mark.parametrize(
    ("given", "own", "others"),
    [
        ({"school": "b", "schools": ["a", "b", "c"]}, "b", "a,c"), ({"school": "b", "schools": []}, "b", ""),
        ({"school": None, "schools": ["a", "c"]}, "a", "c"), ({"school": None, "schools": None}, "", ""),
    ],
)  # fmt: skip
def test_the_own_school_is_told_from_the_others(
    server: CleverServer, run: Run, given: dict[str, Any], own: str, others: str
) -> None:
    server.of("students")[0]["roles"]["student"] |= given
    server.of("students")[1]["roles"]["student"]["schools"] = ["x", "y"]
    row = rows(fetch(server, run), "students")[0]
    assert (row["school"], row["other_schools"]) == (own, others)


@pytest.mark.parametrize(
    ("last_sync", "delivered"),
    [
        ("2026-11-22T23:10:00.000Z", datetime(2026, 11, 22, 23, 10, tzinfo=UTC)),
        ("2026-11-22T23:10:00", datetime(2026, 11, 22, 23, 10, tzinfo=UTC)),
        ("2030-01-01T00:00:00.000Z", NOW), (None, NOW), ("soon", NOW), (17, NOW),
    ],
)  # fmt: skip
def test_a_set_is_as_old_as_the_districts_last_sync(
    server: CleverServer, run: Run, last_sync: Any, delivered: datetime
) -> None:
    server.districts[0]["last_sync"] = last_sync
    assert fetch(server, run).delivery.delivered_at == delivered


def test_terms_that_a_district_does_not_share_are_told_and_other_things_must_be_there(
    server: CleverServer, run: Run
) -> None:
    server.faults = [on("terms", 1, status(404))]
    batch = fetch(server, run)
    assert "api_terms.csv" not in batch.delivery.files
    assert "does not share terms" in batch.notices[0].message
    assert refusal(server, run, on("sections", 2, status(404))).code == "FILE-ANSWER"


def test_progress_is_told_in_counts(server: CleverServer, run: Run) -> None:
    said: list[str] = []
    api = Api(Access("http://localhost", TOKEN), "c", transport=answering(server), now=NOW.timestamp)
    fetched_by(api, run, telling=said.append)
    assert "ingest: 15 of 15 records from Clever" in said


# ---- asked again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [dropped, status(500), status(502), status(503), status(504), status(429)])
def test_what_may_pass_is_asked_again(server: CleverServer, run: Run, fault: Callable[..., Response]) -> None:
    server.faults = [on("students", number, fault) for number in (2, 3, 5)]
    naps: list[float] = []
    assert len(rows(fetch(server, run, naps), "students")) == 7
    assert [round(nap) >= 1 for nap in naps] == [True] * 3 and naps[1] > naps[0]


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"Retry_After": "7"}, 7), ({"Retry_After": format_datetime(NOW + timedelta(seconds=30), usegmt=True)}, 30),
        ({"X_RateLimit_Reset": str(int(NOW.timestamp()) + 41)}, 41), ({"Retry_After": "nonsense"}, 1),
        ({"Retry_After": "-5"}, 1), ({"X_RateLimit_Reset": "inf"}, 1), ({"Retry_After": "9" * 12}, None),
    ],
)  # fmt: skip
def test_a_storm_of_429_is_waited_out_as_it_asks(
    server: CleverServer, run: Run, headers: dict[str, str], least: int | None
) -> None:
    server.faults = [on("students", number, status(429, **headers)) for number in (1, 2, 3)]
    naps: list[float] = []
    if least is None:
        with pytest.raises(Unreachable):
            fetch(server, run, naps)
        assert naps == []
    else:
        assert len(rows(fetch(server, run, naps), "students")) == 7
        assert len(naps) == 3 and min(naps) >= least


def test_who_does_not_answer_at_all_is_out_of_reach_and_a_repeated_step_goes_on_where_it_was(
    server: CleverServer, run: Run
) -> None:
    server.faults = [
        lambda server, asked: status(503)(server, asked) if asked.title == "students" and asked.after else None
    ]
    naps: list[float] = []
    with pytest.raises(Unreachable, match="Clever does not answer for /users: it says 503") as error:
        fetch(server, run, naps)
    assert (error.value.code, error.value.exit_status, len(naps)) == ("FILE-UNREACHABLE", 4, TRIES - 1)
    assert sum(naps) > 100
    server.faults, server.asked = [], []
    assert len(rows(fetch(server, run), "students")) == 7
    first = [asked for asked in server.asked if asked.title == "students" and not asked.is_count][0]
    assert first.after == server.of("students")[2]["id"]


def test_pages_of_data_that_was_renewed_since_are_read_again(server: CleverServer, run: Run) -> None:
    server.faults = [lambda server, asked: status(503)(server, asked) if asked.title == "staff" else None]
    with pytest.raises(Unreachable):
        fetch(server, run)
    server.faults, server.asked = [], []
    server.districts[0]["last_sync"] = "2026-11-23T06:00:00.000Z"
    server.users[0]["name"]["first"] = "Renewed"
    assert "Renewed" in {row["name.first"] for row in rows(fetch(server, run), "students")}


def test_one_collection_that_fails_ends_the_others(server: CleverServer, run: Run) -> None:
    server.most = 1
    server.faults = [on("students", 2, status(401))]
    with pytest.raises(Refused):
        fetch(server, run)
    assert len(server.asked) < 25


def test_no_minute_has_more_requests_than_clever_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "A_MINUTE", 40)
    clock = [0.0]
    times: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        times.append(clock[0])
        return httpx.Response(200, content=b"{}")

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    api = Api(
        Access("http://localhost", TOKEN), "c", transport=httpx.MockTransport(answer), sleep=sleep,
        now=lambda: clock[0],
    )  # fmt: skip
    for _ in range(client.A_MINUTE * 2 + 1):
        clock[0] += 0.001
        api.ask("users", {})
    assert all(later - earlier >= 60 for earlier, later in zip(times, times[client.A_MINUTE :], strict=False))


# ---- never taken for a smaller district ------------------------------------------------------------------------------


def skipping(server: CleverServer, asked: Any) -> Response:
    """A page is missing: the one after it comes in its place."""
    return JSONResponse(server.page(asked.path, asked.role, server.of(asked.title)[5]["id"], 3, False))


def cut(server: CleverServer, asked: Any) -> Response:
    """The set ends early: nothing is said to follow."""
    page = server.page(asked.path, asked.role, asked.after, server.most, False)
    return JSONResponse(page | {"links": []})


def short(server: CleverServer, asked: Any) -> Response:
    """A page with a record less than there are."""
    page = server.page(asked.path, asked.role, asked.after, server.most, asked.after is None)
    return JSONResponse(page | {"data": page["data"][1:]})


def doubled(server: CleverServer, asked: Any) -> Response:
    """A record stands there twice, in the place of another one."""
    page = server.page(asked.path, asked.role, asked.after, server.most, asked.after is None)
    return JSONResponse(page | {"data": [page["data"][1], *page["data"][1:]]})


def empty(server: CleverServer, asked: Any) -> Response:
    return JSONResponse({"data": [], "links": []})


INCOMPLETE = {
    "a page is repeated": on("students", 2, first_page_again),
    "a page is missing": on("students", 2, skipping),
    "the set ends early": on("students", 2, cut),
    "a page has less than it should": on("students", 2, short),
    "a record comes twice": on("students", 2, doubled),
    "a page is empty": on("students", 1, empty),
    "a collection is empty": on("sections", 1, empty),
}


@pytest.mark.parametrize("fault", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_set_that_may_lack_somebody_is_refused(server: CleverServer, run: Run, fault: Fault) -> None:
    assert refusal(server, run, fault).code == "FILE-INCOMPLETE"


@pytest.mark.parametrize("name", ["a page is repeated", "the set ends early", "a record comes twice"])
def test_it_is_refused_as_well_where_nothing_was_announced(server: CleverServer, run: Run, name: str) -> None:
    server.counts = False
    assert len(rows(fetch(server, run), "students")) == 7
    assert refusal(server, a_run(run.place.root / "again"), INCOMPLETE[name]).code == "FILE-INCOMPLETE"


def when_all_is_read(then: Fault) -> Fault:
    """Contacts are counted after the last page and before the counts are looked at again."""
    return lambda server, asked: then(server, asked) if (asked.title, asked.number) == ("contact", 1) else None


@pytest.mark.parametrize("moment", ["before its page", "after its page", "after everything"])
def test_a_school_that_goes_while_the_set_is_read_refuses_it(server: CleverServer, run: Run, moment: str) -> None:
    server.most = 1
    go = without("schools", server.of("schools")[moment == "before its page"])
    refused = refusal(server, run, when_all_is_read(go) if moment == "after everything" else on("schools", 2, go))
    assert (refused.code, "schools" in refused.message) == ("FILE-INCOMPLETE", True)


def test_data_that_is_renewed_meanwhile_refuses_the_set_whatever_the_counts_say(server: CleverServer, run: Run) -> None:
    def renew(server: CleverServer, asked: Any) -> None:
        server.districts[0]["last_sync"] = "2026-11-23T06:59:00.000Z"

    refused = refusal(server, run, on("students", 2, renew))
    assert (refused.code, "was renewed while it was read" in refused.message) == ("FILE-INCOMPLETE", True)


def test_a_server_that_answers_without_end_is_refused(
    server: CleverServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.counts = False
    monkeypatch.setattr(pages, "MOST_PAGES", 50)

    def another(server: CleverServer, asked: Any) -> Response | None:
        if asked.title != "students":
            return None
        name = f"{int(asked.after or '0', 16) + 1:024x}"
        uri = f"/v3.1/users?starting_after={name}"
        return JSONResponse({"data": [{"data": {"id": name}}], "links": [{"rel": "next", "uri": uri}]})

    assert "no end" in refusal(server, run, another).message


# ---- what is no answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "said"), [(401, "FILE-DENIED"), (403, "FILE-DENIED"), (400, "FILE-ANSWER"),
                                            (413, "FILE-ANSWER"), (501, "FILE-ANSWER")])  # fmt: skip
def test_a_token_that_expires_while_it_is_read_and_other_refusals_are_not_asked_again(
    server: CleverServer, run: Run, code: int, said: str
) -> None:
    refused = refusal(server, run, on("students", 2, status(code)))
    assert (refused.code, "/users" in refused.message) == (said, True)
    assert len([asked for asked in server.asked if asked.title == "students"]) == 2


def test_a_token_of_several_districts_is_refused_and_one_of_none(server: CleverServer, run: Run) -> None:
    server.districts *= 2
    assert (refusal(server, run).code, "reads 2 districts" in refusal(server, run).message) == ("FILE-DENIED", True)
    server.districts = []
    assert refusal(server, run).code == "FILE-DENIED"


def test_the_token_goes_to_no_other_host(server: CleverServer, run: Run) -> None:
    hosts: set[str] = set()

    def astray(server: CleverServer, asked: Any) -> Response:
        page = json.loads(bytes(JSONResponse(server.page(asked.path, asked.role, asked.after, 3, True)).body))
        page["links"] = [
            {"rel": "next", "uri": f"https://elsewhere.example/?starting_after={page['data'][-1]['data']['id']}"}
        ]
        return JSONResponse(page)

    server.faults = [on("students", 1, astray)]
    assert len(rows(fetch(server, run, hosts=hosts), "students")) == 7
    assert (
        refusal(server, run, on("students", 1, status(302, Location="https://elsewhere.example/"))).code
        == "FILE-ANSWER"
    )
    assert hosts == {"localhost"}


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html>", b"[]", b"null", b"{}", b'{"data":{}}', b'{"data":[1]}', b'{"data":[{"data":[]}]}', b"\xff",
        b'{"data":[{"data":{"name":"x"}}]}', b'{"data":[{"data":{"id":""}}]}', b'{"data":[{"data":{"id":null}}]}',
        b'{"data":[{"data":{"id":"1"}}],"links":[{"rel":"next"}]}', b'{"data":[{"data":{"id":"\\ud800"}}]}',
        b'{"data":[{"data":{"id":"1"}}],"links":[{"rel":"next","uri":"//[x"}]}', b"[" * 5000,
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(server: CleverServer, run: Run, content: bytes) -> None:
    for title in ("students",) if b"links" in content else ("students", "districts"):
        refused = refusal(server, run, on(title, 1, lambda server, asked: Response(content)))
        assert refused.code == "FILE-ANSWER"


def test_an_answer_larger_than_any_page_is_refused_before_it_fills_the_memory(
    server: CleverServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LARGEST", 10_000)
    assert "larger than" in refusal(server, run, on("students", 1, says("x" * 10_001))).message


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS = sorted({tuple(path.split(".")) for one in COLLECTIONS for path in one.values.values()} | {
    ("data",), ("links",), ("count",), ("roles",), ("roles", "student"), ("roles", "student", "schools"),
    ("students",), ("teachers",), ("name",),
})  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_answered_ends_in_a_refusal_or_in_rows(tmp_path: Path, data: st.DataObject) -> None:
    server = a_server(tmp_path)
    title = data.draw(st.sampled_from([one.title for one in COLLECTIONS] + ["districts"]))
    broken = data.draw(st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 2), ANYTHING), min_size=1, max_size=3))
    garbled = data.draw(st.none() | st.binary(max_size=30) | st.integers(0, 3000))
    headers = data.draw(
        st.dictionaries(st.sampled_from(["Retry-After", "X-RateLimit-Reset"]), st.text("0123456789.-GMT ", max_size=12))
    )
    code = data.draw(st.sampled_from([200] * 12 + [429, 500, 204, 301, 404, 418]))

    def answer(server: CleverServer, asked: Any) -> Response:
        page = server.page(asked.path, asked.role, asked.after, server.most, True)
        for path, number, value in broken:
            place = (
                page if path[0] in page else page["data"][number % len(page["data"])]["data"] if page["data"] else {}
            )
            for name in path[:-1]:
                place = place.get(name) if isinstance(place.get(name), dict) else {}
            place[path[-1]] = value
            if not (isinstance(page["data"], list) and all(isinstance(one, dict) for one in page["data"])):
                break
        content = json.dumps(page).encode()
        content = garbled if isinstance(garbled, bytes) else content[:garbled] if garbled else content
        return Response(content, code, headers=headers)

    server.faults = [on(title, 1, answer)]
    run = a_run(Path(str(tmp_path)) / "fuzzed")
    try:
        batch = fetch(server, run)
        run.note(format=batch.declared.name)
        read_batch(run, batch.take(run.place.batch))
        normalise(run)
    except Refused as refused:
        assert refused.code.startswith("FILE-")
    finally:
        shutil.rmtree(run.place.root, ignore_errors=True)
