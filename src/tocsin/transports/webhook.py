"""Signed webhooks: one POST, or what the destination asks for in its place, and what its answer means."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Lease, Outcome, Rejected
from tocsin.core.destination import MASK, Destination, Format
from tocsin.core.event import Dialect, Event
from tocsin.core.headers import header_fault, masked, retry_after_s
from tocsin.core.identifiers import DestinationId, prefixed
from tocsin.core.signature import StandardSigner, sign_promptjang, standard_key
from tocsin.core.trace import TRACEPARENT, attempt_traceparent
from tocsin.transports.addresses import Place, UrlFault
from tocsin.transports.outbound import USER_AGENT, Reply, Request, Sends
from tocsin.transports.protocol import Done, LiveSecret, Shipment, Target
from tocsin.transports.rendering import header_text, render

METHODS = ("POST", "PUT", "PATCH", "DELETE")
CORRELATION_ID = "correlation_id"
"""The name in an event's extension under which PromptJang keeps its correlation id."""

_GONE = 410
_PATIENCE_S = 1.0
"""When to come back after an attempt that was never made."""
_TEMPLATES_MAX = 4096
_ECHO_LENGTH_MIN = 8
"""A shorter secret would be found in innocent text."""
_PLAIN = frozenset({"accept", "content-type", "user-agent"})
"""The operator's own headers that are shown; the value of any other may be a credential, whatever its name."""

Headers = tuple[tuple[str, str], ...]


class _Template(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same in every request to one revision of a destination.

    Attributes:
        headers: the operator's own.
        shown_head: those that the client puts before them.
        shown: the operator's own, masked as a destination shows them: they are write-only.
        sets_content_type: whether the operator's own headers say it.
        keys: live secrets, newest first: until when they sign, their signer of Standard Webhooks, the whole string.
        echoes: secret values that an answer might repeat.
        success: names in lower case, and values, of the headers that an answer must have.
        fault: why nothing can be sent to this destination; None when something can.
    """

    revision: int
    method: str
    request_line: str
    url: str = ""
    timeout_s: float = 0.0
    format: Format = Format.RAW
    is_promptjang: bool = False
    headers: Headers = ()
    shown_head: Headers = ()
    shown: Headers = ()
    sets_content_type: bool = False
    keys: tuple[tuple[int | None, StandardSigner | None, str], ...] = ()
    echoes: tuple[str, ...] = ()
    success: Headers = ()
    fault: tuple[ErrorClass, str] | None = None


class WebhookTransport:
    """Sends events to webhooks through the outbound client, which the caller opens and closes.

    Args:
        client: what sends.
        clock: the wall clock, for signatures and for reading dates.
    """

    def __init__(self, client: Sends, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._templates: dict[DestinationId, _Template] = {}
        self._closed = False

    async def open(self) -> None:
        """See ``Transport``."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """See ``Transport``."""
        self._closed = True
        self._templates.clear()

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        target = shipment.target
        template = self._templates.get(target.destination.id)
        if template is None or template.revision != target.destination.revision:
            template = self._learn(target)
        started_ms = self._clock.now_ms()
        if template.fault is not None:
            self._refuse(shipment, done, template, template.fault, started_ms)
            return
        try:
            rendered = render(shipment.lease.event, template.format)
            content_type = None if template.sets_content_type else rendered.content_type
            said = () if content_type is None else (("Content-Type", content_type),)
            own = said + rendered.headers + _signed(template, shipment.lease.event, started_ms, rendered.body)
            trace = shipment.lease.event.trace
            if trace is not None:
                own += _traced(template, shipment.lease, trace)
        except (ValueError, OverflowError) as error:  # such as text that no encoding can write
            text = f"the event cannot be written: {type(error).__name__}"
            self._refuse(shipment, done, template, (ErrorClass.INTERNAL, text), started_ms)
            return
        headers = template.headers + own
        sent = template.shown_head + template.shown + own + (("Content-Length", str(len(rendered.body))),)
        self._client.send(
            Request(template.method, template.url, headers, rendered.body, template.timeout_s),
            partial(self._replied, shipment, done, template, sent, started_ms),
        )

    def _refuse(
        self, shipment: Shipment, done: Done, template: _Template, fault: tuple[ErrorClass, str], started_ms: int
    ) -> None:
        reply = Reply(duration_ms=0, error_class=fault[0], error=fault[1])
        self._loop.call_soon(self._replied, shipment, done, template, (), started_ms, reply)

    def _learn(self, target: Target) -> _Template:
        while len(self._templates) >= _TEMPLATES_MAX:
            del self._templates[next(iter(self._templates))]
        template = _template(target, self._client.policy.check(_text(target.destination.address.get("url"))))
        self._templates[target.destination.id] = template
        return template

    def _replied(
        self, shipment: Shipment, done: Done, template: _Template, sent: Headers, started_ms: int, reply: Reply
    ) -> None:
        if self._closed:
            return
        lacking = None
        if reply.error_class is None and reply.status is not None and 200 <= reply.status < 300:
            lacking = _lacking(template.success, reply.headers)
        error_class, error = _verdict(reply, lacking)
        response_headers, response_body = _shown_answer(template, reply)
        attempt = Attempt(
            started_ms=started_ms,
            duration_ms=reply.duration_ms,
            exchange=Exchange(
                request_line=template.request_line,
                request_headers=sent,
                response_headers=response_headers,
                response_body=response_body,
                response_truncated=reply.truncated,
            ),
            connect_ms=reply.connect_ms,
            status_code=reply.status,
            error_class=error_class,
            error=error,
        )
        done(shipment, _outcome(attempt, reply, now_ms=self._clock.now_ms()))


def _outcome(attempt: Attempt, reply: Reply, *, now_ms: int) -> Outcome:
    if attempt.error_class is None:
        return Delivered(attempt)
    if reply.unsent:
        return Deferred(attempt, retry_after_s=_PATIENCE_S, counted=False)
    if reply.error_class is not None:
        return Deferred(attempt)
    if reply.status == _GONE:
        return Rejected(attempt, disable=True)
    asked = next((value for name, value in reply.headers if name.lower() == "retry-after"), None)
    return Deferred(attempt, None if asked is None else retry_after_s(asked, now_ms=now_ms))


def _verdict(reply: Reply, lacking: str | None) -> tuple[ErrorClass | None, str | None]:
    if reply.error_class is not None:
        return reply.error_class, reply.error
    if reply.status is None or not 200 <= reply.status < 300:
        return ErrorClass.STATUS, f"remote answered {reply.status}"
    if lacking is not None:
        return ErrorClass.RESPONSE_HEADERS, f"the answer's header {lacking} is missing or another"
    return None, None


def _lacking(wanted: Headers, got: Headers) -> str | None:
    """Return the name of a header that the answer must have and has not, or None."""
    if not wanted:
        return None
    present = {(name.lower(), value) for name, value in got}
    return next((name for name, value in wanted if (name, value) not in present), None)


def _shown_answer(template: _Template, reply: Reply) -> tuple[Headers, bytes]:
    """Return the answer's headers and body as an operator may see them, with secrets that it repeats masked."""
    headers = tuple([(name, masked(name, value)) for name, value in reply.headers])
    body = reply.body
    for echo in template.echoes:
        body = body.replace(echo.encode(), MASK.encode())
        headers = tuple([(name, value.replace(echo, MASK)) for name, value in headers])
    return headers, body


def _signed(template: _Template, event: Event, now_ms: int, body: bytes) -> Headers:
    """Return the headers that say which event this is, when it was sent, and who says so.

    Every live secret signs as Standard Webhooks has it; PromptJang's header has room for one value, so only the
    newest secret makes that.
    """
    message_id = prefixed("evt", event.id)
    now_s = now_ms // 1000
    timestamp = str(now_s)
    live = [(signer, secret) for until_ms, signer, secret in template.keys if until_ms is None or now_ms < until_ms]
    headers: list[tuple[str, str]] = [("webhook-id", message_id), ("webhook-timestamp", timestamp)]
    values = [signer.sign(message_id, now_s, body) for signer, _ in live if signer is not None]
    if values:
        headers.append(("webhook-signature", " ".join(values)))
    if template.is_promptjang:
        if live:
            headers.append(("X-PJ-Signature", sign_promptjang(live[0][1], timestamp, body)))
        headers += [
            ("X-PJ-Timestamp", timestamp),
            ("X-PJ-Event-ID", message_id),
            ("X-PJ-Event-Type", header_text(event.type)),
        ]
        correlation_id = event.extension.get(CORRELATION_ID)
        if isinstance(correlation_id, str) and correlation_id:
            headers.append(("X-PJ-Correlation-ID", header_text(correlation_id)))
    return tuple(headers)


def _traced(template: _Template, lease: Lease, trace: str) -> Headers:
    """Return the header by which the receiver goes on with the event's trace, unless the operator sets it."""
    told = attempt_traceparent(trace, lease.delivery_id, lease.number)
    if told is None or any(name.lower() == TRACEPARENT for name, _ in template.headers):
        return ()
    return ((TRACEPARENT, told),)


def _template(target: Target, place: Place | UrlFault) -> _Template:
    """Return what is the same in every request to this revision of the destination."""
    destination = target.destination
    method = _text(destination.address.get("method", "POST")).upper()
    headers = _own_headers(target)
    fault = _fault(method, headers, place)
    if isinstance(place, UrlFault) or fault is not None:
        where = "(URL refused)" if isinstance(place, UrlFault) else place.url
        return _Template(revision=destination.revision, method=method, request_line=f"{method} {where}", fault=fault)
    names = {name.lower() for name, _ in headers}
    head = (("Host", _host(place)), ("User-Agent", USER_AGENT), ("Accept", "*/*"))
    return _Template(
        revision=destination.revision,
        method=method,
        request_line=f"{method} {place.url}",
        url=place.url,
        timeout_s=destination.timeout_s,
        format=destination.format,
        is_promptjang=destination.origin is Dialect.PROMPTJANG,
        headers=headers,
        shown_head=tuple((name, value) for name, value in head if name.lower() not in names),
        shown=tuple((name, value if name.lower() in _PLAIN else MASK) for name, value in headers),
        sets_content_type="content-type" in names,
        keys=tuple(_key(secret) for secret in target.secrets),
        echoes=_echoes(headers),
        success=_success(destination),
    )


def _fault(method: str, headers: Headers, place: Place | UrlFault) -> tuple[ErrorClass, str] | None:
    if isinstance(place, UrlFault):
        return ErrorClass.ADDRESS_REFUSED, f"URL is not allowed: {place.value}"
    if method not in METHODS:
        return ErrorClass.INTERNAL, "the destination's method is not one that is sent"
    faults = (header_fault(name, value) for name, value in headers)
    if why := next((fault for fault in faults if fault is not None), None):
        return ErrorClass.INTERNAL, f"one of the destination's headers cannot be sent: {why}"
    return None


def _own_headers(target: Target) -> Headers:
    configured = target.secret_address.get("headers")
    return (
        tuple((str(name), str(value)) for name, value in configured.items()) if isinstance(configured, dict) else ()
    )


def _echoes(headers: Headers) -> tuple[str, ...]:
    """Return the secret values as an answer might repeat them: whole, without their scheme, escaped as in JSON."""
    values = [value for name, value in headers if name.lower() not in _PLAIN]
    values += [value.partition(" ")[2] for value in values]
    values += [msgspec.json.encode(value)[1:-1].decode() for value in values]
    found = {value for value in values if len(value) >= _ECHO_LENGTH_MIN}
    return tuple(sorted(found, key=len, reverse=True))


def _success(destination: Destination) -> Headers:
    return tuple((name.lower(), value) for name, value in destination.success_headers.items())


def _key(secret: LiveSecret) -> tuple[int | None, StandardSigner | None, str]:
    key = standard_key(secret.secret)
    return secret.expires_ms, None if key is None else StandardSigner(key), secret.secret


def _host(place: Place) -> str:
    host = f"[{place.host}]" if ":" in place.host else place.host
    return host if place.port == {"http": 80, "https": 443}[place.scheme] else f"{host}:{place.port}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
