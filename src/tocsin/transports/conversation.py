"""One attempt that may take several requests: its deadline, its secrets, and the exchange that is shown of it."""

from __future__ import annotations

import asyncio
import math
import re
from traceback import extract_tb
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.core.destination import MASK
from tocsin.core.headers import masked, retry_after_s
from tocsin.transports.addresses import Place, UrlFault
from tocsin.transports.messages.cleaning import one_line
from tocsin.transports.messages.cutting import cut
from tocsin.transports.outbound import BODY_KEPT_BYTES, USER_AGENT, Reply, Request, Sends

Headers = tuple[tuple[str, str], ...]
K = TypeVar("K")
V = TypeVar("V")

ANSWER_BYTES_MAX = 128 * 1024
"""How much of an answer is read for its ids: it repeats the message, whose texts JSON may write six times as long."""
WAIT_MAX_S = 86_400.0
"""The longest wait that a remote can ask for; what is more would be a slip, or malice."""
PATIENCE_S = 60.0
"""How long a remote is left alone that asks for patience and does not say for how long."""
UNSENT_WAIT_S = 1.0
"""When to come back after an attempt that was never made."""

_REMEMBERED_MAX = 4096
_ERROR_UNITS_MAX = 500
_ECHO_LENGTH_MIN = 8
"""A shorter secret would be found in innocent text."""
_SECONDS = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,9})?", re.ASCII)


class Veil:
    """Keeps secrets out of what is shown.

    Args:
        secrets: values that an answer might repeat; whole, percent-encoded and escaped as in JSON they are masked.
    """

    def __init__(self, *secrets: str) -> None:
        found = {secret for secret in secrets if len(secret) >= _ECHO_LENGTH_MIN}
        found |= {quote(secret, safe="") for secret in found}
        found |= {msgspec.json.encode(secret)[1:-1].decode() for secret in found}
        found |= {secret.replace("/", "\\/") for secret in found}
        self._echoes = tuple(sorted(found, key=len, reverse=True))

    def text(self, text: str) -> str:
        """Return a text without the secrets."""
        for echo in self._echoes:
            text = text.replace(echo, MASK)
        return text

    def line(self, text: str) -> str:
        """Return what a remote says as one line that may be shown."""
        # Cleaning takes characters out, and may put together a secret that was taken apart.
        return cut(self.text(one_line(text)), _ERROR_UNITS_MAX)

    def body(self, body: bytes) -> bytes:
        """Return an answer's body without the secrets."""
        for echo in self._echoes:
            body = body.replace(echo.encode(), MASK.encode())
        return body

    def headers(self, headers: Headers) -> Headers:
        """Return an answer's headers without the secrets."""
        return tuple((self.text(name), self.text(masked(name, value))) for name, value in headers)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request to make.

    Attributes:
        shown_url: the URL as an operator may see it.
        secret_headers: headers that are sent and shown masked.
    """

    method: str
    url: str
    shown_url: str
    body: dict[str, Any]
    headers: Headers = ()
    secret_headers: Headers = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer, or the lack of one, comes to when nothing more can be done in this attempt.

    Attributes:
        error_class, error: None when the message arrived.
        wait_s: when to come back; None leaves it to the schedule.
        counted: whether a retry is used up.
        rest_s: for how long the remote takes nothing more from this destination.
        final: whether another try is of no use.
        dead: whether the address itself is.
    """

    error_class: ErrorClass | None = None
    error: str | None = None
    wait_s: float | None = None
    counted: bool = True
    rest_s: float = 0.0
    final: bool = False
    dead: bool = False


def put_off(error: str, wait_s: float) -> Verdict:
    """Return the verdict on an attempt in which nothing was sent, since the remote is to be left alone."""
    return Verdict(error_class=ErrorClass.INTERNAL, error=error, wait_s=wait_s, counted=False, rest_s=wait_s)


def crowded() -> Verdict:
    """Return the verdict on an attempt whose turn did not come in time."""
    error = "not sent: others to the same address took all the time"
    return Verdict(error_class=ErrorClass.INTERNAL, error=error, wait_s=UNSENT_WAIT_S, counted=False)


def failed(reply: Reply) -> Verdict | None:
    """Return the verdict on a request without an answer that counts, or None where there is one."""
    if reply.error_class is None and reply.status is not None:
        return None
    error_class = ErrorClass.PROTOCOL if reply.error_class is None else reply.error_class
    if reply.unsent:
        return Verdict(error_class=error_class, error=reply.error, wait_s=UNSENT_WAIT_S, counted=False)
    return Verdict(error_class=error_class, error=reply.error)


class Conversation:
    """The requests of one attempt, one after another, all within its deadline.

    Args:
        line: what is shown in place of a request while none was made.

    Attributes:
        shortened: whether the message that it tells was cut to the remote's limits.
    """

    def __init__(self, clock: Clock, *, timeout_s: float, veil: Veil, line: str) -> None:
        self._clock = clock
        self._deadline_s = clock.monotonic_s() + timeout_s
        self._started_ms = clock.now_ms()
        self._began_s = clock.monotonic_s()
        self._veil = veil
        self._exchange = Exchange(request_line=line)
        self._connect_ms: int | None = None
        self._status: int | None = None
        self.shortened = False

    @property
    def left_s(self) -> float:
        """How much of the attempt's time is left, 0 or less when none is."""
        return self._deadline_s - self._clock.monotonic_s()

    async def ask(self, client: Sends, asked: Ask) -> Reply:
        """Make a request and return what came of it."""
        left_s = self.left_s
        if left_s <= 0:
            return Reply(duration_ms=0, error_class=ErrorClass.TIMEOUT, error="no time was left for another request")
        body = msgspec.json.encode(asked.body)
        own = (("Content-Type", "application/json"), *asked.headers)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        headers = own + asked.secret_headers
        client.send(Request(asked.method, asked.url, headers, body, left_s, ANSWER_BYTES_MAX), done)
        reply = await answer
        self._note(client, asked, own, len(body), reply)
        return reply

    def _attempt(self, verdict: Verdict, remote_id: str | None) -> Attempt:
        error = verdict.error
        return Attempt(
            started_ms=self._started_ms,
            duration_ms=max(0, round((self._clock.monotonic_s() - self._began_s) * 1000)),
            exchange=self._exchange,
            connect_ms=self._connect_ms,
            status_code=self._status,
            error_class=verdict.error_class,
            error=None if error is None else self._veil.line(error),
            remote_id=remote_id if remote_id is None or self._veil.text(remote_id) == remote_id else None,
            shortened=self.shortened,
        )

    def outcome(
        self, verdict: Verdict, learned: dict[str, Any] | None = None, *, remote_id: str | None = None
    ) -> Outcome:
        """Return what the attempt came to."""
        attempt = self._attempt(verdict, remote_id)
        told = {} if learned is None else learned
        if verdict.error_class is None:
            return Delivered(attempt, rest_s=verdict.rest_s, learned=told)
        if verdict.final:
            return Rejected(attempt, disable=verdict.dead, rest_s=verdict.rest_s)
        return Deferred(attempt, verdict.wait_s, counted=verdict.counted, rest_s=verdict.rest_s, learned=told)

    def _note(self, client: Sends, asked: Ask, own: Headers, length: int, reply: Reply) -> None:
        place = client.policy.check(asked.url)
        names = {name.lower() for name, _ in own}
        host: Headers = () if isinstance(place, UrlFault) else (("Host", host_of(place)),)
        head = (*host, ("User-Agent", USER_AGENT), ("Accept", "*/*"))
        shown = tuple((name, value) for name, value in head if name.lower() not in names)
        hidden = tuple((name, MASK) for name, _ in asked.secret_headers)
        body = self._veil.body(reply.body)
        self._exchange = Exchange(
            request_line=f"{asked.method} {asked.shown_url}",
            request_headers=shown + own + hidden + (("Content-Length", str(length)),),
            response_headers=self._veil.headers(reply.headers),
            response_body=body[:BODY_KEPT_BYTES],
            response_truncated=reply.truncated or len(body) > BODY_KEPT_BYTES,
        )
        self._status = reply.status
        if self._connect_ms is None:
            self._connect_ms = reply.connect_ms


def remember(kept: dict[K, V], key: K, value: V) -> None:
    """Keep what was learned last, and of all that no more than a few thousand."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > _REMEMBERED_MAX:
        del kept[next(iter(kept))]


def where(fault: Exception) -> str:
    """Return in which function and line a fault of ours came up; its text may repeat a secret, so nobody is told."""
    frames = extract_tb(fault.__traceback__)
    return (
        f"{type(fault).__name__} in {frames[-1].name}, line {frames[-1].lineno}" if frames else type(fault).__name__
    )


def host_of(place: Place) -> str:
    """Return a place's host as a ``Host`` header names it."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    return host if place.port == {"http": 80, "https": 443}[place.scheme] else f"{host}:{place.port}"


def members(body: bytes) -> dict[str, Any] | None:
    """Return the members of a JSON object, or None for a body that is none."""
    try:
        found = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def header(reply: Reply, name: str) -> str | None:
    """Return the first value of an answer's header, or None; ``name`` is in lower case."""
    return next((value for each, value in reply.headers if each.lower() == name), None)


def wait_of(value: Any) -> float | None:
    """Return a number of seconds as a remote tells it, at most a day; None for what is none."""
    if isinstance(value, str) and _SECONDS.fullmatch(value) is not None:
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if value < 0 or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(min(value, WAIT_MAX_S))


def asked_wait_s(reply: Reply, told: Any, *, now_ms: int) -> float:
    """Return how long an answer asks to wait: what its body tells, else ``Retry-After``, else a while."""
    wait_s = wait_of(told)
    if wait_s is not None:
        return wait_s
    asked = header(reply, "retry-after")
    if asked is not None:
        wait_s = retry_after_s(asked, now_ms=now_ms)
        wait_s = wait_of(asked) if wait_s is None else wait_of(wait_s)
    return PATIENCE_S if wait_s is None else wait_s
