"""The route of CloudEvents: one by itself, its attributes in the body or in headers, or many at once."""

from __future__ import annotations

import asyncio

from tocsin.core.clock import Clock
from tocsin.core.cloudevents import extension_of, media_type
from tocsin.core.errors import TocsinError, UnsupportedMediaType
from tocsin.core.event import Dialect, Draft, idempotency_key
from tocsin.core.identifiers import prefixed
from tocsin.core.organisation import Scope
from tocsin.dialects.native import cloudevents_body
from tocsin.dialects.native.cloudevents_attributes import CloudEvent
from tocsin.dialects.native.errors import error_response
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.dialects.native.rendering import EVENT
from tocsin.pipeline.ingest import Ingest, Receipt
from tocsin.web.auth import Principal
from tocsin.web.errors import status_of
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response, Route, json_response

_STRUCTURED = "application/cloudevents+json"
_BATCH = "application/cloudevents-batch+json"
_ANY = "application/cloudevents"
"""How the content type of every format of CloudEvents begins. Source: HTTP protocol binding, section 3."""

_REPLAYED = [(b"idempotent-replayed", b"true")]


class CloudEventRoute:
    """Handler of ``POST /cloudevents``."""

    def __init__(self, *, guard: Guard, ingest: Ingest, clock: Clock, limits: CloudEventsLimits) -> None:
        self._guard = guard
        self._ingest = ingest
        self._clock = clock
        self._limits = limits

    def route(self, prefix: str, name: str) -> Route:
        """Return the route below ``prefix``."""
        return Route(
            method="POST",
            path=f"{prefix}/cloudevents",
            handler=self.send,
            errors=error_response,
            name=name,
            body_limit_bytes=self._limits.body_bytes_max,
            finish=self._guard.finish_ingest,
        )

    async def send(self, request: Request) -> Response:
        """Store what a request holds; 202 with the id of each event, a repeated one's from the first time."""
        principal = self._guard.guard(request, Scope.INGEST)
        content_type = request.header(b"content-type")
        media = media_type(content_type or "")
        if media == _BATCH:
            return await self._send_batch(principal, cloudevents_body.batch(request.body, self._limits))
        if media == _STRUCTURED:
            event = cloudevents_body.structured(request.body, self._limits)
        elif media.startswith(_ANY):
            raise UnsupportedMediaType(f"of CloudEvents' formats {_STRUCTURED} and {_BATCH} are taken")
        else:
            headers = request.scope["headers"]
            event = cloudevents_body.binary(headers, content_type, request.body, self._limits)
        receipt = await self._ingest.accept(self._draft(principal, event))
        shown = {"event_id": prefixed(EVENT, receipt.event_id)}
        return json_response(202, shown, _REPLAYED if receipt.repeated else None)

    async def _send_batch(self, principal: Principal, events: list[CloudEvent]) -> Response:
        """Store all at once, so that they share a commit.

        Raises:
            Conflict, Unavailable: some were not stored, the worst error of theirs; ``fields`` says which, and a
                repeat of the whole batch is safe.
        """
        drafts = [self._draft(principal, event) for event in events]
        results = await asyncio.gather(*map(self._ingest.accept, drafts), return_exceptions=True)
        receipts: list[Receipt] = []
        failed: list[tuple[int, TocsinError]] = []
        for at, result in enumerate(results):
            if isinstance(result, TocsinError):
                failed.append((at, result))
            elif isinstance(result, BaseException):
                raise result
            else:
                receipts.append(result)
        if failed:
            worst = max((error for _, error in failed), key=status_of)
            raise type(worst)(
                f"{len(failed)} of {len(events)} events were not stored, the others were: {worst.detail}",
                code=worst.code,
                retry_after_s=worst.retry_after_s,
                fields=tuple((f"[{at}]", error.detail) for at, error in failed),
            )
        repeated = bool(receipts) and all(receipt.repeated for receipt in receipts)
        shown = {"event_ids": [prefixed(EVENT, receipt.event_id) for receipt in receipts]}
        return json_response(202, shown, _REPLAYED if repeated else None)

    def _draft(self, principal: Principal, event: CloudEvent) -> Draft:
        key = idempotency_key(
            principal.organisation_id,
            # A rehearsal with a test key must not swallow the live event after it.
            f"cloudevents/{principal.environment}/{event.source}",
            event.kept.id,
            event.fingerprint(),
            expires_after_ms=self._limits.idempotency_ms,
        )
        return Draft(
            organisation_id=principal.organisation_id,
            dialect=Dialect.CLOUDEVENTS,
            source=event.source,
            type=event.type,
            time_ms=self._clock.now_ms() if event.time_ms is None else event.time_ms,
            data=event.data,
            subject=event.subject,
            environment=principal.environment,
            extension=extension_of(event.kept),
            idempotency=(key,),
        )
