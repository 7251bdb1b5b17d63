"""/event/create, /event/update, /event/close."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import InvalidRequest, NotFound
from tocsin.core.event import Dialect, Draft, IdempotencyKey, idempotency_key
from tocsin.core.identifiers import ChannelId, EventId, bucket_of, hex32, parse_hex32
from tocsin.core.incident import IncidentAction, IncidentChange
from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.entrance import Entrance, json_body
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.event_request import (
    EventRequest,
    attrs_patch,
    fingerprint,
    judge_event,
    profile,
    read_event,
)
from tocsin.dialects.pushgo.fields import channel_id_in, channel_id_shown, password_in, stored_ms
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.dialects.pushgo.payload import EVENT_TYPES, SOURCE_PREFIX, event_extension
from tocsin.pipeline.ingest import Ingest
from tocsin.web.auth import Principal
from tocsin.web.http import Request, Response

OP_ID_BYTES = 16
"""Random bytes of an op_id that the gateway makes."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class EventRoutes:
    """The three routes of an event's life."""

    def __init__(
        self,
        *,
        ingest: Ingest,
        entrance: Entrance,
        clock: Clock,
        entropy: Callable[[int], bytes],
        limits: PushGoLimits,
    ) -> None:
        self._ingest = ingest
        self._entrance = entrance
        self._clock = clock
        self._entropy = entropy
        self._limits = limits

    async def create(self, request: Request) -> Response:
        """Open an incident."""
        return await self._accept(request, IncidentAction.CREATE)

    async def update(self, request: Request) -> Response:
        """Tell news of an incident."""
        return await self._accept(request, IncidentAction.UPDATE)

    async def close(self, request: Request) -> Response:
        """Close an incident."""
        return await self._accept(request, IncidentAction.CLOSE)

    async def _accept(self, request: Request, action: IncidentAction) -> Response:
        # The contract's order of checks, line by line: bearer; content type, size, JSON; types; password present,
        # form of the channel id, password length; channel exists, password matches; the fields from op_id on.
        principal = self._entrance.principal(request, Scope.INGEST)
        body = read_event(json_body(request, self._limits.body_limit_bytes), action)
        if body.password is None:
            raise InvalidRequest("password is required", code="password_required")
        channel_id = channel_id_in(body.channel_id)
        password = password_in(body.password)
        await self._entrance.opened_channel(principal, channel_id, password, request)
        asked = judge_event(body, action)

        op_id = self._entropy(OP_ID_BYTES).hex() if asked.op_id is None else asked.op_id
        draft = self._draft(principal, channel_id, asked, op_id, data_without_password(request.body))
        receipt = await self._ingest.accept(draft)
        return success(
            {
                "channel_id": channel_id_shown(channel_id),
                "op_id": op_id,
                "event_id": hex32(receipt.event_id) if asked.event_id is None else asked.event_id,
                "thing_id": asked.fields.thing_id,
                "accepted": True,
            }
        )

    def _draft(
        self, principal: Principal, channel_id: ChannelId, asked: EventRequest, op_id: str, data: bytes
    ) -> Draft:
        fields = asked.fields
        channel = channel_id_shown(channel_id)
        incident_id = _incident_id(asked)
        at_ms = stored_ms(fields.event_time_ms)
        return Draft(
            organisation_id=principal.organisation_id,
            dialect=Dialect.PUSHGO,
            source=f"{SOURCE_PREFIX}{channel}",
            type=EVENT_TYPES[asked.action],
            time_ms=at_ms,
            data=data,
            subject=asked.event_id,
            severity=fields.severity,
            environment=principal.environment,
            extension=event_extension(op_id, fields),
            idempotency=(self._key(principal, channel, asked, op_id, incident_id),),
            incident=IncidentChange(
                action=asked.action,
                channel=channel,
                at_ms=at_ms,
                incident_id=incident_id,
                environment=principal.environment,
                profile=profile(fields),
                attrs=attrs_patch(fields),
                attrs_bytes_max=self._limits.incident_attrs_bytes_max,
            ),
            mailbox_channel=channel_id,
            mailbox_expires_ms=self._clock.now_ms() + self._limits.mailbox_kept_ms,
        )

    def _key(
        self, principal: Principal, channel: str, asked: EventRequest, op_id: str, incident_id: EventId | None
    ) -> IdempotencyKey:
        # A made op_id is kept too: the client learns it from the answer, and may repeat the request with it.
        return idempotency_key(
            principal.organisation_id,
            f"pushgo/{principal.environment.value}/{channel}/event/{asked.action.value}/{asked.event_id or ''}",
            op_id,
            fingerprint(asked.fields),
            expires_after_ms=self._limits.op_id_kept_ms,
            bucket=None if incident_id is None else bucket_of(incident_id),
        )


def _incident_id(asked: EventRequest) -> EventId | None:
    if asked.event_id is None:
        return None
    found = parse_hex32(asked.event_id)
    if found is None:
        # Well-formed, but no id that this gateway gave out.
        raise NotFound("event not found", code="event_not_found")
    return EventId(found)


def data_without_password(body: bytes) -> bytes:
    """Return a request's JSON object without its password, every other member as it was sent."""
    members = _members(body)
    members.pop("password", None)
    return _encode(members)
