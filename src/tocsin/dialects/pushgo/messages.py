"""POST /message and GET /message, one request in two spellings."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.event import Dialect, Draft, idempotency_key
from tocsin.core.identifiers import ChannelId, hex32
from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.entrance import Entrance, json_body, query_fault, query_of
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.events import OP_ID_BYTES, data_without_password
from tocsin.dialects.pushgo.fields import Body, DataFault, channel_id_in, channel_id_shown, stored_ms
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.dialects.pushgo.message_request import (
    OPTIONAL,
    REQUIRED,
    MessageBody,
    MessageFields,
    body_of_query,
    complete_message,
    fingerprint,
    judge_message,
    read_message,
)
from tocsin.dialects.pushgo.payload import MESSAGE_TYPE, SOURCE_PREFIX, message_extension
from tocsin.pipeline.ingest import Ingest
from tocsin.web.auth import Principal
from tocsin.web.http import Request, Response

_encode = msgspec.json.Encoder().encode


class MessageRoutes:
    """Messages: what is told once, without an incident."""

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

    async def post(self, request: Request) -> Response:
        """Take a message as JSON."""
        principal = self._entrance.principal(request, Scope.INGEST)
        message = read_message(json_body(request, self._limits.body_limit_bytes))
        return await self._accept(request, principal, message, data_without_password(request.body))

    async def get(self, request: Request) -> Response:
        """Take a message as a query."""
        principal = self._entrance.principal(request, Scope.INGEST)
        query = query_of(request, required=REQUIRED, optional=OPTIONAL)
        try:
            body: Body = body_of_query(query)
            message = read_message(body)
        except DataFault as fault:
            raise query_fault(fault.reason) from None
        del body["password"]
        return await self._accept(request, principal, message, _encode(body))

    async def _accept(self, request: Request, principal: Principal, message: MessageBody, data: bytes) -> Response:
        # The contract's order of checks: thing_id, channel_id blank, password length, op_id, title, metadata; form
        # of the channel id, channel exists, password matches; occurred_at's rule, images, tags.
        head = judge_message(message)
        channel_id = channel_id_in(message.channel_id)
        await self._entrance.opened_channel(principal, channel_id, head.password, request)
        fields = complete_message(message, head)

        op_id = self._entropy(OP_ID_BYTES).hex() if head.op_id is None else head.op_id
        receipt = await self._ingest.accept(self._draft(principal, channel_id, fields, op_id, data))
        return success(
            {
                "channel_id": channel_id_shown(channel_id),
                "op_id": op_id,
                "message_id": hex32(receipt.event_id),
                "thing_id": fields.thing_id,
                "accepted": True,
            }
        )

    def _draft(
        self, principal: Principal, channel_id: ChannelId, fields: MessageFields, op_id: str, data: bytes
    ) -> Draft:
        channel = channel_id_shown(channel_id)
        now_ms = self._clock.now_ms()
        expires_ms = now_ms + self._limits.mailbox_kept_ms
        if fields.ttl_ms is not None:
            expires_ms = min(expires_ms, fields.ttl_ms)
        return Draft(
            organisation_id=principal.organisation_id,
            dialect=Dialect.PUSHGO,
            source=f"{SOURCE_PREFIX}{channel}",
            type=MESSAGE_TYPE,
            time_ms=now_ms if fields.occurred_ms is None else stored_ms(fields.occurred_ms),
            data=data,
            subject=fields.thing_id,
            severity=fields.severity,
            environment=principal.environment,
            extension=message_extension(op_id, fields),
            idempotency=(
                idempotency_key(
                    principal.organisation_id,
                    f"pushgo/{principal.environment.value}/{channel}/message/",
                    op_id,
                    fingerprint(fields),
                    expires_after_ms=self._limits.op_id_kept_ms,
                ),
            ),
            # What expired before it came is stored and routed like any other, but no device needs it.
            mailbox_channel=channel_id if expires_ms > now_ms else None,
            mailbox_expires_ms=expires_ms if expires_ms > now_ms else None,
        )
