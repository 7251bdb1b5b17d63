"""/messages/pull and /messages/ack: what waits for a device, and that it has it."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import DeliveryId, hex32, parse_hex32
from tocsin.core.organisation import Scope
from tocsin.core.text import trim
from tocsin.dialects.pushgo.devices import Devices
from tocsin.dialects.pushgo.entrance import Entrance, json_body
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.fields import check_names, device_key_in, read_required_text, read_text
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.dialects.pushgo.payload import payload
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import AckItem, MailboxQuery, MailboxResult
from tocsin.web.http import Request, Response

_FIELDS = frozenset({"device_key", "delivery_id"})


class MailboxRoutes:
    """A pulled item stays until it is acknowledged, so that a device that dies between the two loses nothing."""

    def __init__(
        self, *, engine: Engine, entrance: Entrance, devices: Devices, clock: Clock, limits: PushGoLimits
    ) -> None:
        self._engine = engine
        self._entrance = entrance
        self._devices = devices
        self._clock = clock
        self._limits = limits

    async def pull(self, request: Request) -> Response:
        """Return what waits for a device, oldest first; nothing for an unknown one."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _FIELDS)
        key_text = read_required_text(body, "device_key")
        id_text = read_text(body, "delivery_id")

        key = device_key_in(key_text)
        delivery_id = None if id_text is None else _delivery_id_in(id_text, "delivery_id must not be empty")
        if id_text is not None and delivery_id is None:
            return success({"items": []})
        if await self._devices.find(principal.organisation_id, key) is None:
            return success({"items": []})
        page = await self._engine.search(
            MailboxQuery(
                organisation_id=principal.organisation_id,
                device_key=key,
                now_ms=self._clock.now_ms(),
                delivery_id=delivery_id,
            ),
            limit=self._limits.pulled_items_max,
        )
        kept_ms = self._limits.mailbox_kept_ms
        return success(
            {
                "items": [
                    {"delivery_id": hex32(item.delivery_id), "payload": payload(item, mailbox_kept_ms=kept_ms)}
                    for item in page.rows
                ]
            }
        )

    async def ack(self, request: Request) -> Response:
        """Take an item out of a device's mailbox; the answer tells whether it was there."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _FIELDS)
        key_text = read_required_text(body, "device_key")
        id_text = read_required_text(body, "delivery_id")

        key = device_key_in(key_text)
        delivery_id = _delivery_id_in(id_text, "delivery_id is required")
        if delivery_id is None or await self._devices.find(principal.organisation_id, key) is None:
            return success({"removed": False})
        (result,) = await self._engine.mailbox_write([AckItem(principal.organisation_id, key, delivery_id)])
        return success({"removed": result is MailboxResult.DONE})


def _delivery_id_in(text: str, blank: str) -> DeliveryId | None:
    """Return the delivery that a text names, or None when it cannot name one; ``delivery_id_required`` if blank."""
    trimmed = trim(text)
    if not trimmed:
        raise InvalidRequest(blank, code="delivery_id_required")
    found = parse_hex32(trimmed)
    return None if found is None else DeliveryId(found)
