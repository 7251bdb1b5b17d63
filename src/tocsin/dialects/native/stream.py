"""The live stream: events and deliveries as they happen, as server-sent events."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
import structlog

from tocsin.core.destination import Format
from tocsin.core.errors import InvalidRequest, TocsinError
from tocsin.core.identifiers import OrganisationId, created_ms, prefixed
from tocsin.core.organisation import Scope, key_digest
from tocsin.core.spelling import Sought
from tocsin.core.stream import StreamFilter, StreamKind, Told
from tocsin.dialects.native.event_filter import EventFilter
from tocsin.dialects.native.listing import read_query
from tocsin.dialects.native.reading import Reader, choice, plain_text, wrong
from tocsin.dialects.native.rendering import EVENT, document, time_shown
from tocsin.engine.rows import DeliveryRow
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.live import DeliveryChange, End, Happening, Live, Stream, StreamLimits
from tocsin.transports.rendering import render
from tocsin.web import server_sent
from tocsin.web.auth import Principal, bearer
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response
from tocsin.web.streaming import StreamingResponse

_LAST_EVENT_ID = "last_event_id"
_HEADERS = [server_sent.CONTENT_TYPE, server_sent.UNBUFFERED]
_GAP = "gap"
_DROPPED = "dropped"
_BYE = "bye"
_log = structlog.get_logger("tocsin.stream")
_encode = msgspec.json.Encoder().encode


def _kinds(value: str) -> frozenset[StreamKind]:
    """Read some kinds, with commas between them."""
    try:
        return frozenset(StreamKind(each.strip()) for each in value.split(","))
    except ValueError:
        raise wrong(f"must be among {', '.join(StreamKind)}, with commas between them") from None


class DataForm(StrEnum):
    """How events are told with their data."""

    NONE = "false"
    DOCUMENT = "true"
    """As a JSON document within the message's own."""
    RAW = "raw"
    """Byte for byte, as a webhook of the format ``raw`` sends them."""


class StreamRoutes:
    """The handler of ``/stream``.

    Args:
        events: how the list of events reads what it is narrowed by.
        delivery_shown: how a delivery and its event are shown in lists.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        live: Live,
        events: EventFilter,
        delivery_shown: Callable[[DeliveryRow], dict[str, Any]],
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._live = live
        self._events = events
        self._delivery_shown = delivery_shown
        self._terms: dict[str, Reader] = {
            **dict.fromkeys(events.names_of_one, plain_text),
            "kinds": _kinds,
            "data": choice(DataForm),
            _LAST_EVENT_ID: plain_text,
        }
        self._renders = {
            DataForm.NONE: self._without_data,
            DataForm.DOCUMENT: self._with_document,
            DataForm.RAW: self._with_bytes,
        }

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/stream", self.stream),)

    async def stream(self, request: Request) -> Response:
        """Tell of events and deliveries until the client leaves."""
        principal = self._guard.guard(request, Scope.READ)
        terms = read_query(request, self._terms)
        form = terms.get("data", DataForm.NONE)
        wanted = self._wanted(principal, terms, with_data=form is not DataForm.NONE)
        # A browser that comes again sends the header, and still the address that it first came by.
        left_off = request.header(b"last-event-id") or terms.get(_LAST_EVENT_ID)
        stream = await self._live.open(
            wanted,
            after=self._after(principal.organisation_id, left_off),
            render=self._renders[form],
            permitted=self._permission(request, principal),
        )
        return StreamingResponse(status=200, headers=_HEADERS, pieces=_Messages(self._live, stream))

    def _wanted(self, principal: Principal, terms: dict[str, Any], *, with_data: bool) -> StreamFilter:
        given = {name: terms[name] for name in self._events.names_of_one if name in terms}
        query = self._events.read_of_one(given, principal.organisation_id, principal.environment)
        return StreamFilter(
            organisation_id=principal.organisation_id,
            environment=principal.environment,
            kinds=terms.get("kinds", frozenset(StreamKind)),
            events=query.filter,
            dialect=query.dialect,
            source=query.source,
            text=None if query.text is None else Sought(query.text),
            destination_id=query.destination_id,
            with_data=with_data,
        )

    def _after(self, organisation_id: OrganisationId, left_off: str | None) -> int | None:
        if not left_off:
            return None
        position = self._live.parse_position(organisation_id, left_off)
        if position is None:
            reason = "is not the id of a message of this organisation's streams"
            raise InvalidRequest(f"{_LAST_EVENT_ID} {reason}", fields=((_LAST_EVENT_ID, reason),))
        return position

    def _permission(self, request: Request, principal: Principal) -> Callable[[], bool]:
        """Return what tells whether the key that was shown is still there and may still read."""
        digest = key_digest(bearer(request.header(b"authorization")) or "")

        def permitted() -> bool:
            found = self._catalog.find_key(digest)
            return found is not None and found.id == principal.key_id and Scope.READ in found.scopes

        return permitted

    # -- how happenings are written ---------------------------------------------------------------------

    def _without_data(self, happening: Happening, mark: str) -> bytes:
        return self._message(happening, mark, DataForm.NONE)

    def _with_document(self, happening: Happening, mark: str) -> bytes:
        return self._message(happening, mark, DataForm.DOCUMENT)

    def _with_bytes(self, happening: Happening, mark: str) -> bytes:
        return self._message(happening, mark, DataForm.RAW)

    def _message(self, happening: Happening, mark: str, form: DataForm) -> bytes:
        if happening.change is not None:
            shown = self._delivery_shown(DeliveryRow(happening.change.delivery, happening.event))
            shown["attempt"] = _attempt_shown(happening.change)
        else:
            shown = _event_shown(happening)
            if form is DataForm.DOCUMENT:
                shown["data"] = document(happening.event.data)
            elif form is DataForm.RAW:
                raw = render(happening.event, Format.RAW)
                shown["content_type"] = raw.content_type
                shown["data_base64"] = b64encode(raw.body).decode()
        return server_sent.message(mark, happening.kind.value, _encode(shown))


def _event_shown(happening: Happening) -> dict[str, Any]:
    """Return an event that was just accepted; what becomes of it is told of its deliveries."""
    event = happening.event
    return {
        "id": prefixed(EVENT, event.id),
        "dialect": event.dialect.value,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "severity": None if event.severity is None else event.severity.value,
        "environment": event.environment.value,
        "time": time_shown(event.time_ms),
        "created_at": time_shown(created_ms(event.id)),
        "replay_of": None if event.replay_of is None else prefixed(EVENT, event.replay_of),
    }


def _attempt_shown(change: DeliveryChange) -> dict[str, Any] | None:
    """Return the attempt that ended, without what was exchanged."""
    attempt = change.attempt
    if attempt is None:
        return None
    return {
        "number": change.number,
        "started_at": time_shown(attempt.started_ms),
        "connect_ms": attempt.connect_ms,
        "duration_ms": attempt.duration_ms,
        "status_code": attempt.status_code,
        "error_class": None if attempt.error_class is None else attempt.error_class.value,
        "error": attempt.error,
        "remote_id": attempt.remote_id,
    }


class _Messages:
    """A stream as its reader gets it: implements ``web.streaming.Pieces``.

    Every message has an id: that of an event is its own position, that of any other the one up to which everything
    was told, so that who goes on behind it misses no event.
    """

    def __init__(self, live: Live, stream: Stream) -> None:
        self._live = live
        self._limits: StreamLimits = live.limits
        self._stream = stream
        self._position: int | None = None
        self._said_goodbye = False

    def begin(self, hurry: Callable[[float], None]) -> None:
        """Take note that the answer begins."""
        self._stream.on_end = lambda: hurry(self._limits.farewell_s)
        if self._stream.ended is not None:
            hurry(self._limits.farewell_s)

    async def next(self) -> bytes:
        """Return the next messages, a sign of life where there are none, or nothing at the end."""
        if self._position is None:
            return self._beginning()
        if self._said_goodbye:
            return b""
        told = await self._told()
        if told:
            self._position = told[-1].position
            return b"".join([each.text for each in told])
        if self._stream.ended is None:
            return self._sign_of_life()
        self._said_goodbye = True
        return self._farewell(self._stream.ended)

    def shut_down(self) -> None:
        """Come to an end: the server shuts down."""
        self._stream.end(End.SHUTDOWN)

    def lost(self) -> None:
        """Come to an end at once: nobody reads any more."""
        self._stream.end(End.READER_LEFT)

    def close(self) -> None:
        """Let go of everything."""
        self._live.close(self._stream)

    async def _told(self) -> list[Told]:
        try:
            return await self._stream.next(bytes_max=self._limits.write_bytes, timeout_s=self._limits.keep_alive_s)
        except TocsinError:
            self._stream.end(End.UNAVAILABLE)
        except Exception as fault:  # noqa: BLE001  the answer has begun: all that is left is to say so
            _log.error("stream_broke", exc_info=fault)
            self._stream.end(End.BROKEN)
        return []

    def _beginning(self) -> bytes:
        self._position = self._stream.begins
        begin = server_sent.retry(self._limits.retry_ms) + server_sent.position(self._mark())
        gap = self._stream.gap
        return begin if gap is None else begin + self._notice(_GAP, gap)

    def _sign_of_life(self) -> bytes:
        """Return a comment, and how far the reader has come where that has moved without a message."""
        position = self._stream.position()
        if position == self._position:
            return server_sent.KEEP_ALIVE
        self._position = position
        return server_sent.KEEP_ALIVE + server_sent.position(self._mark())

    def _farewell(self, why: End) -> bytes:
        if why is End.READER_LEFT:
            return b""
        return self._notice(_DROPPED if why is End.SLOW_READER else _BYE, why)

    def _notice(self, name: str, reason: str) -> bytes:
        return server_sent.message(self._mark(), name, _encode({"reason": reason}))

    def _mark(self) -> str:
        assert self._position is not None
        return self._stream.shown(self._position)
