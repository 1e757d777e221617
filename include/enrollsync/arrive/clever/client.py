"""One question to Clever's API: the token in its header, at the documented rate, asked again where that may help.

Nothing of an answer is ever quoted, and nothing of a request but its path; what an answer holds, `pages.py` reads.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Event, Lock

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from enrollsync.settings.connections import Access
from enrollsync.words.errors import Refused, Unreachable

VERSION = "v3.1"
A_MINUTE = 1200
"""Requests that one token may make; https://dev.clever.com/docs/error-messages."""
TRIES = 8
"""How often one page is asked for: with the pauses between, two minutes at least."""
_LONGEST_PAUSE = 90
"""Seconds; Clever's limit starts anew each minute. Who asks for more is asked again when the step is repeated."""
_LARGEST = 256 << 20
"""Bytes of one answer, unpacked; a page of 10,000 students is about 10 MB."""
_TIMEOUT = httpx.Timeout(60, connect=15)
_PASSING = {429, 500, 502, 503, 504}
"""Statuses of what may be otherwise in a while."""
_HEADERS = {"Accept": "application/json", "User-Agent": "enrollsync"}

log = logging.getLogger(__name__)
# It logs every address with its cursor, and that is a record's key at Clever.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Stopped(Exception):
    """Another question has ended the reading."""


class _Passing(Exception):
    """What may be otherwise in a while."""

    def __init__(self, why: str, after: float | None = None) -> None:
        super().__init__(why)
        self.after = after
        """Seconds to wait at least, as the answer says."""


class Api:
    """Clever's API as one token sees it; several threads may ask at once."""

    def __init__(
        self, access: Access, connection: str, *, transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] | None = None, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """`connection`: its name, for what is said; `sleep` (seconds) and `now` (since 1970) stand for the clock's."""
        self._connection = connection
        self._stopped = Event()
        self._sleep = sleep or self._stopped.wait
        self._now = now
        self._asked: deque[float] = deque(maxlen=A_MINUTE)
        self._turn = Lock()
        self._client = httpx.Client(
            base_url=f"{access.url}/{VERSION}/",
            headers=_HEADERS | {"Authorization": f"Bearer {access.token}"},
            timeout=_TIMEOUT,
            follow_redirects=False,  # the token is meant for this host alone
            trust_env=not access.is_local,
            transport=transport,
        )

    def close(self) -> None:
        """Let its connections go."""
        self._client.close()

    def stop(self) -> None:
        """Let every thread that asks or waits end with Stopped."""
        self._stopped.set()

    def ask(self, path: str, question: Mapping[str, str], *, may_lack: bool = False) -> bytes | None:
        """The answer's body; None where there is no such thing and it `may_lack`.

        Raises Refused (FILE-DENIED, FILE-ANSWER); Unreachable when there is no answer after several tries; Stopped.
        """
        trying = Retrying(
            retry=retry_if_exception_type(_Passing),
            stop=_is_enough,
            wait=_pause,
            sleep=self._wait,
            before_sleep=partial(_note, path),
            reraise=True,
        )
        try:
            return trying(self._once, path, may_lack, question)
        except _Passing as passing:
            said = f"Clever does not answer for /{path}: {passing}; nothing was changed, run again later"
            raise Unreachable(said) from None

    def _once(self, path: str, may_lack: bool, question: Mapping[str, str]) -> bytes | None:
        self._await_turn()
        try:
            with self._client.stream("GET", path, params=dict(question)) as answer:
                self._judge(answer, path, may_lack)
                return _body(answer, path) if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _Passing(_told(error)) from None

    def _judge(self, answer: httpx.Response, path: str, may_lack: bool) -> None:
        status = answer.status_code
        if status in (401, 403):
            raise Refused(
                "FILE-DENIED",
                f"Clever does not let the token of `source.connection` {self._connection} read /{path} ({status}); "
                "put the district's present token there",
            )
        if status in _PASSING:
            raise _Passing(f"it says {status}", after=self._asked_to_wait(answer.headers))
        if status != httpx.codes.OK and not (status == httpx.codes.NOT_FOUND and may_lack):
            said = f"Clever says {status} of /{path}; look whether the token is a district's (not a person's)"
            raise Refused("FILE-ANSWER", f"{said}, and whether the connection's host is right")

    def _asked_to_wait(self, headers: httpx.Headers) -> float | None:
        """Seconds, by `Retry-After` (a number or a date), else by `X-RateLimit-Reset` (seconds since 1970)."""
        given = headers.get("retry-after", "")
        if _is_number(given):
            return float(given)
        if moment := _moment(given):
            return max(moment.timestamp() - self._now(), 0)
        reset = headers.get("x-ratelimit-reset", "")
        return max(float(reset) - self._now(), 0) if _is_number(reset) else None

    def _await_turn(self) -> None:
        """No more than `A_MINUTE` requests in any minute."""
        with self._turn:
            full = len(self._asked) == A_MINUTE
            pause = min(self._asked[0] + 60 - self._now(), 60) if full else 0  # a clock may be set back
            if pause > 0:
                self._wait(pause)
            if self._stopped.is_set():
                raise Stopped
            self._asked.append(self._now())

    def _wait(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._stopped.is_set():
            raise Stopped


def _passing_of(state: RetryCallState) -> _Passing:
    passing = state.outcome.exception() if state.outcome else None
    return passing if isinstance(passing, _Passing) else _Passing("")


def _note(path: str, state: RetryCallState) -> None:
    pause = state.next_action.sleep if state.next_action else 0
    log.info("clever: /%s: %s; asked again in %.0f s", path, _passing_of(state), pause)


def _is_enough(state: RetryCallState) -> bool:
    return state.attempt_number >= TRIES or (_passing_of(state).after or 0) > _LONGEST_PAUSE


def _pause(state: RetryCallState) -> float:
    """One second, two, four and so on, somewhat longer by chance, and never less than the answer asks for."""
    growing = min(2.0 ** (state.attempt_number - 1), 60.0) * random.uniform(1, 1.25)
    return max(growing, _passing_of(state).after or 0)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text.strip()))


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _body(answer: httpx.Response, path: str) -> bytes:
    """All of it, unless it is larger than any page can be."""
    body = bytearray()
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > _LARGEST:
            said = f"the answer for /{path} is larger than {_LARGEST >> 20} MiB, which no page is"
            raise Refused("FILE-ANSWER", said)
    return bytes(body)


def _told(error: Exception) -> str:
    """What happened, without a word of what was sent or answered."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return "no connection could be made"
    return "it took too long" if isinstance(error, httpx.TimeoutException) else "the connection broke off"
