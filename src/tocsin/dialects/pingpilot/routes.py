"""PingPilot's one route, with its checks in their published order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from tocsin.core.clock import DAY_MS, Clock, next_month_ms
from tocsin.core.destination import Transport
from tocsin.core.errors import (
    InvalidRequest,
    MalformedBody,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PayloadTooLarge,
    QuotaExhausted,
    TocsinError,
    Unprocessable,
)
from tocsin.core.event import Dialect, Draft, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId, digest, prefixed
from tocsin.core.organisation import Category, Scope
from tocsin.dialects import strict_json
from tocsin.dialects.pingpilot.schema import issues_of, message_of
from tocsin.pipeline.account import Accounts, category_source
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.ingest import Ingest, Receipt
from tocsin.web.auth import KeyRing, Principal
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, Route, json_response

DELIVERIES = b"Tocsin-Deliveries"
"""The header that says how many deliveries a new event has; the published body has no room for it."""

_NO_HEADER = "Unauthorized"
_BAD_HEADER = "Invalid auth header format. Expected: 'Bearer [API_KEY]'"
_BAD_KEY = "Invalid API key"
_NOT_CONFIGURED = {
    Transport.DISCORD: "Please enter your discord ID in your account settings",
    Transport.TELEGRAM: (
        "Telegram username not set. "
        "Please set your telegram username in your account settings to receive notifications"
    ),
}
_QUOTA_USED_UP = "Monthly quota reached. Please upgrade your plan for more events"
_BAD_JSON = "Invalid JSON request body"
_DONE = "Event processed successfully"
_NOT_DELIVERED = "Error processing event"
_FAULT = "Internal server error"

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class FirstAttempts(Protocol):
    """Who knows what the first attempts of deliveries came to."""

    async def first_attempts(
        self, organisation_id: OrganisationId, deliveries: Sequence[DeliveryId], timeout_s: float
    ) -> bool:
        """Return whether every one of these deliveries was delivered by its first attempt.

        Returns once each first attempt has ended, or False after ``timeout_s``. Called after the event is stored, so
        that some may have ended already, or all; the answer holds for those too. Of no deliveries it is False.
        """
        ...

    async def first_attempts_of(self, organisation_id: OrganisationId, event_id: EventId, timeout_s: float) -> bool:
        """Return the same of the deliveries that a stored event has; one that arrived later has arrived, too."""
        ...


class PingPilotLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the dialect.

    Attributes:
        body_bytes: the longest body.
        idempotency_key_bytes: the longest ``Idempotency-Key``.
        field_issues_max: faulty values of ``fields`` that one 422 tells.
        wait_max_s: the longest ``?wait=``.
        idempotency_ms: how long a repeat with the same ``Idempotency-Key`` is recognised.
    """

    body_bytes: int = 1_048_576
    field_issues_max: int = 100
    wait_max_s: float = 30.0
    idempotency_key_bytes: int = 255
    idempotency_ms: int = 7 * DAY_MS


class PingPilot:
    """POST /api/v1/event, and its alias /api/v1/events."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        catalog: Catalog,
        keys: KeyRing,
        accounts: Accounts,
        first_attempts: FirstAttempts,
        clock: Clock,
        limits: PingPilotLimits,
    ) -> None:
        self._ingest = ingest
        self._catalog = catalog
        self._keys = keys
        self._accounts = accounts
        self._first_attempts = first_attempts
        self._clock = clock
        self._limits = limits

    def routes(self) -> tuple[Route, ...]:
        """Return the dialect's routes."""
        return tuple(
            Route(
                method="POST",
                path=path,
                handler=self.accept,
                errors=self.errors,
                name="pingpilot",
                body_limit_bytes=self._limits.body_bytes,
                body_limit_first=False,
            )
            for path in ("/api/v1/event", "/api/v1/events")
        )

    async def accept(self, request: Request) -> Response:
        """Store one event; the order of the checks is the contract's."""
        principal = self._principal(request)
        organisation_id = principal.organisation_id
        unreachable = self._accounts.unreachable(organisation_id)
        if unreachable is not None:
            raise NotPermitted(_NOT_CONFIGURED[unreachable], code="account_not_configured")
        now_ms = self._clock.now_ms()
        charge = self._accounts.charge(organisation_id, now_ms)
        # A repeat must get its first answer even where that event was the last of the month, so a request that
        # may be one is left to the engine, which knows repeats and refuses all others in the same commit.
        if request.header(b"idempotency-key") is None and await self._accounts.is_used_up(organisation_id, charge):
            raise _used_up(now_ms)
        request.refuse_encoded()
        if len(request.body) > self._limits.body_bytes:
            raise PayloadTooLarge(f"Request body is larger than {self._limits.body_bytes} bytes")
        wait_s = self._wait_s(request)
        body = strict_json.decode(request.body)
        category = self._category(organisation_id, body)
        draft = Draft(
            organisation_id=organisation_id,
            dialect=Dialect.PINGPILOT,
            source=category_source(category.name),
            type=category.name,
            time_ms=now_ms,
            data=request.body,
            environment=principal.environment,
            extension={"color": category.color, "emoji": category.emoji},
            idempotency=self._idempotency(principal, request, body),
            quota=charge,
        )
        try:
            receipt = await self._ingest.accept(draft)
        except QuotaExhausted as error:
            raise _used_up(now_ms) from error
        event_id = prefixed("evt", receipt.event_id)
        if wait_s and not await self._all_told(organisation_id, receipt, wait_s):
            return json_response(500, {"message": _NOT_DELIVERED, "eventId": event_id}, _told(receipt))
        return json_response(200, {"message": _DONE, "eventId": event_id}, _told(receipt))

    async def _all_told(self, organisation_id: OrganisationId, receipt: Receipt, wait_s: float) -> bool:
        if receipt.repeated:
            return await self._first_attempts.first_attempts_of(organisation_id, receipt.event_id, wait_s)
        return await self._first_attempts.first_attempts(organisation_id, receipt.deliveries, wait_s)

    def errors(self, _request: Request, error: TocsinError) -> Response:
        """Tell an error in PingPilot's form."""
        status = status_of(error)
        if status == 500:
            message = _FAULT
        elif isinstance(error, MalformedBody):
            message = _BAD_JSON
        else:
            message = error.detail
        return json_response(status, {"message": message}, retry_after(error))

    def _principal(self, request: Request) -> Principal:
        header = request.header(b"authorization")
        if not header:
            raise NotAuthenticated(_NO_HEADER)
        if not header.startswith("Bearer "):
            raise NotAuthenticated(_BAD_HEADER)
        # White space behind a header's value is not part of it (RFC 9110, section 5.5), and the server keeps it.
        key = header[7:].rstrip(" \t")
        principal = self._keys.find(key) if key else None
        if principal is None:
            raise NotAuthenticated(_BAD_KEY)
        if Scope.INGEST not in principal.scopes:
            raise NotPermitted("This API key is not allowed to send events", code="missing_scope")
        return principal

    def _wait_s(self, request: Request) -> float:
        """Return the seconds of ``?wait=``, 0 without it."""
        if not request.scope["query_string"]:
            return 0.0
        text = request.query.get("wait")
        if text is None:
            return 0.0
        # Python's own float() takes more than decimals: "nan", "1_0", digits of other scripts.
        wait_s = float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else -1.0
        if not 0.0 <= wait_s <= self._limits.wait_max_s:
            raise InvalidRequest(f"wait must be a number of seconds from 0 to {self._limits.wait_max_s:g}")
        return wait_s

    def _category(self, organisation_id: OrganisationId, body: Any) -> Category:
        issues = issues_of(body, field_issues_max=self._limits.field_issues_max)
        if issues:
            raise Unprocessable(message_of(issues))
        name: str = body["category"]
        category = self._catalog.find_category(organisation_id, name)
        if category is None:
            raise NotFound(f'You dont have a category named "{name}"', code="category_not_found")
        return category

    def _idempotency(self, principal: Principal, request: Request, body: Any) -> tuple[IdempotencyKey, ...]:
        key = request.header(b"idempotency-key")
        if key is None:
            return ()
        if not 1 <= len(key) <= self._limits.idempotency_key_bytes:
            raise InvalidRequest(f"Idempotency-Key must have 1 to {self._limits.idempotency_key_bytes} characters")
        return (
            idempotency_key(
                principal.organisation_id,
                f"pingpilot/{principal.environment}",
                key,
                digest(_encode_sorted(body)),
                expires_after_ms=self._limits.idempotency_ms,
            ),
        )


def _used_up(now_ms: int) -> QuotaExhausted:
    return QuotaExhausted(_QUOTA_USED_UP, retry_after_s=(next_month_ms(now_ms) - now_ms) / 1000)


def _told(receipt: Receipt) -> list[tuple[bytes, bytes]]:
    """Return the header that says how many are told; a repeat has none, since what it was told then is past."""
    return [] if receipt.repeated else [(DELIVERIES, str(len(receipt.deliveries)).encode())]
