"""Apprise's other services: the operator gives URLs and names them, destinations have the names alone.

The URLs hold secrets, and Apprise resolves and connects by itself, past every check of ours; so no tenant may ever
give one. What Apprise says of a failure is shown without any part of the URL.

Apprise blocks, so each attempt runs in a thread, which cannot be ended from outside. One that outlasts its deadline
is abandoned, and counted until it ends by itself: while too many of one organisation are, nothing more is sent to
that service for it, which uses up none of its retries.

Source: Apprise's documentation, "Development API"; BSD-2-Clause.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections import Counter
from contextvars import ContextVar
from typing import Protocol
from urllib.parse import quote, unquote

import apprise
import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.core.destination import MASK
from tocsin.core.event import Severity
from tocsin.core.identifiers import OrganisationId
from tocsin.core.incident import IncidentState
from tocsin.transports.apprise_services import AppriseLimits, Services
from tocsin.transports.messages.cleaning import one_line
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.cutting import cut
from tocsin.transports.messages.incidents import said_of
from tocsin.transports.messages.plain import PlainText, plain_text
from tocsin.transports.protocol import Done, Shipment

_BUSY_WAIT_S = 1.0
_ABANDONED_WAIT_S = 10.0
_SAID_LINES_MAX = 20
_ERROR_UNITS_MAX = 500
_PART_LENGTH_MIN = 4
"""A shorter part of a URL would be found in innocent words, and is masked only where it stands alone."""
_BETWEEN = re.compile(r"[:/@?&=,;#+\s]+")
_TYPES = {
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
    Severity.HIGH: apprise.NotifyType.FAILURE,
    Severity.NORMAL: apprise.NotifyType.WARNING,
    Severity.LOW: apprise.NotifyType.INFO,
}

_log = structlog.get_logger("tocsin.apprise")
_SAYING: ContextVar[list[str] | None] = ContextVar("saying", default=None)
"""What Apprise says in this thread; Apprise hands the context on to threads of its own."""


class _Told(Protocol):
    """Makes the record of an attempt that ends now."""

    def __call__(
        self,
        error_class: ErrorClass | None = None,
        error: str | None = None,
        said: str = "",
        *,
        shortened: bool = False,
    ) -> Attempt: ...


class AppriseTransport:
    """Sends texts by Apprise."""

    def __init__(self, services: Services, *, clock: Clock, limits: AppriseLimits) -> None:
        self._services = services
        self._clock = clock
        self._limits = limits
        self._running = 0
        self._abandoned: Counter[tuple[OrganisationId, str]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = _Listener()

    @property
    def abandoned(self) -> int:
        """How many attempts outlasted their deadline and still run."""
        return self._abandoned.total()

    async def open(self) -> None:
        """Have Apprise's log for ourselves: what it says may hold what is secret."""
        self._listener.attach()

    async def close(self) -> None:
        """See ``Transport``; threads that run are left to themselves, and keep no process alive."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        task = asyncio.get_running_loop().create_task(self._run(shipment, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, shipment: Shipment, done: Done) -> None:
        started_ms, began_s = self._clock.now_ms(), self._clock.monotonic_s()

        def told(
            error_class: ErrorClass | None = None,
            error: str | None = None,
            said: str = "",
            *,
            shortened: bool = False,
        ) -> Attempt:
            name = shipment.target.destination.address.get("service")
            return Attempt(
                started_ms=started_ms,
                duration_ms=max(0, round((self._clock.monotonic_s() - began_s) * 1000)),
                exchange=Exchange(request_line=f"NOTIFY {name}", response_body=said.encode("utf-8", "replace")),
                error_class=error_class,
                error=error,
                shortened=shortened,
            )

        try:
            outcome = await self._attempt(shipment, told)
        except Exception as fault:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            _log.warning(
                "message_not_sent", destination=shipment.target.destination.id.hex(), fault=type(fault).__name__
            )
            error = f"the message could not be sent: {type(fault).__name__}"
            outcome = Deferred(told(ErrorClass.INTERNAL, error))
        done(shipment, outcome)

    async def _attempt(self, shipment: Shipment, told: _Told) -> Outcome:
        destination = shipment.target.destination
        name = destination.address.get("service")
        url = self._services.find_url(destination.organisation_id, name)
        if url is None:
            return Rejected(
                told(ErrorClass.INTERNAL, "the operator has set up no such service for this organisation")
            )
        assert isinstance(name, str)
        theirs = destination.organisation_id, name
        if self._abandoned[theirs] >= self._limits.abandoned_max:
            error = "not sent: earlier attempts at this service have not come back yet"
            return Deferred(told(ErrorClass.TIMEOUT, error), _ABANDONED_WAIT_S, counted=False)
        if self._running >= self._limits.threads_max:
            error = "not sent: others take all the threads there are"
            return Deferred(told(ErrorClass.INTERNAL, error), _BUSY_WAIT_S, counted=False)
        text = plain_text(compose(shipment.lease.event, shipment.incident, shipment.note))
        answer = self._thread(url, text, _type_of(shipment), destination.timeout_s)
        try:
            arrived, lines = await asyncio.wait_for(asyncio.shield(answer), destination.timeout_s)
        except TimeoutError:
            self._abandon(theirs, answer)
            return Deferred(told(ErrorClass.TIMEOUT, f"no answer within {destination.timeout_s:g} s"))
        said = "\n".join(_Veil(url).text(line) for line in lines)
        if arrived:
            return Delivered(told(said=said, shortened=text.truncated))
        why = cut(one_line(said), _ERROR_UNITS_MAX)
        return Deferred(told(ErrorClass.STATUS, why or "Apprise could not send it, and does not say why", said))

    def _thread(
        self, url: str, text: PlainText, kind: apprise.NotifyType, timeout_s: float
    ) -> asyncio.Future[tuple[bool, list[str]]]:
        """Send in a thread of its own; return what will tell whether it arrived, and what was said about it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[bool, list[str]]] = loop.create_future()

        def ended(result: tuple[bool, list[str]]) -> None:
            self._running -= 1
            if not answer.done():
                answer.set_result(result)

        def run() -> None:
            lines: list[str] = []
            _SAYING.set(lines)
            arrived = False
            try:
                arrived = _notify(url, text, kind, timeout_s)
            except Exception as fault:  # noqa: BLE001  whatever a plugin raises, it did not send
                lines.append(f"a fault of Apprise's: {type(fault).__name__}")
            try:
                loop.call_soon_threadsafe(ended, (arrived, lines[:_SAID_LINES_MAX]))
            except RuntimeError:
                return  # the loop was closed meanwhile, so nobody asks any more

        self._running += 1
        # A daemon, which the interpreter does not wait for at its end.
        threading.Thread(target=run, name="tocsin-apprise", daemon=True).start()
        return answer

    def _abandon(self, theirs: tuple[OrganisationId, str], answer: asyncio.Future[tuple[bool, list[str]]]) -> None:
        self._abandoned[theirs] += 1
        _log.warning("apprise_attempt_abandoned", service=theirs[1], abandoned=self._abandoned[theirs])

        def back(_answer: asyncio.Future[tuple[bool, list[str]]]) -> None:
            self._abandoned[theirs] -= 1
            if not self._abandoned[theirs]:
                del self._abandoned[theirs]

        answer.add_done_callback(back)


def url_fault(url: str) -> str | None:
    """Return what is wrong with a URL, without any part of it, or None."""
    _Listener().attach()
    if apprise.Apprise.instantiate(url, asset=_asset()) is None:
        return "is no URL that Apprise knows, or one of a service that wants another library"
    return None


def _notify(url: str, text: PlainText, kind: apprise.NotifyType, timeout_s: float) -> bool:
    asset = _asset()
    # A new one each time: they keep a rate by sleeping, and are not made for several threads.
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return False
    # Tries are ours to count, and a thread should not outlast the attempt.
    service.retry = 0
    service.socket_connect_timeout = min(service.socket_connect_timeout, timeout_s)
    service.socket_read_timeout = timeout_s
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return bool(
        sender.notify(body=text.body, title=text.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    )


def _asset() -> apprise.AppriseAsset:
    # Without a limit of its own it sends in our thread; its own threads would hold up the end of the process.
    return apprise.AppriseAsset(
        app_id="Tocsin", app_desc="Tocsin", secure_logging=True, async_mode=False, service_timeout=0
    )


def _type_of(shipment: Shipment) -> apprise.NotifyType:
    """Return by which of its four kinds Apprise is to show the message."""
    incident, event = shipment.incident, shipment.lease.event
    if IncidentState.CLOSED in (event.incident_state, None if incident is None else incident.state):
        return apprise.NotifyType.SUCCESS
    said = said_of(event, incident).severity
    return _TYPES[Severity(said)] if said in tuple(Severity) else apprise.NotifyType.INFO


class _Listener(logging.Handler):
    """Hears what Apprise says, for the attempt in whose context it is said; nobody else does."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def attach(self) -> None:
        """Take the place of whatever listened before."""
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.handlers[:] = [self]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        lines = _SAYING.get()
        if lines is not None and len(lines) < _SAID_LINES_MAX:
            try:
                lines.append(record.getMessage())
            except Exception:  # noqa: BLE001  a line that cannot be written is a line less
                lines.append("what Apprise said cannot be shown")


class _Veil:
    """Keeps every part of a URL out of what is shown, but for its scheme."""

    def __init__(self, url: str) -> None:
        _, _, rest = url.partition("://")
        found = {rest, *_BETWEEN.split(rest), *_BETWEEN.split(unquote(rest))}
        found |= {quote(part, safe="") for part in found} | {unquote(part) for part in found}
        parts = sorted((part for part in found if part), key=len, reverse=True)
        patterns = [
            re.escape(part) if len(part) >= _PART_LENGTH_MIN else rf"(?<![^\W_]){re.escape(part)}(?![^\W_])"
            for part in parts
        ]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(MASK, text)
