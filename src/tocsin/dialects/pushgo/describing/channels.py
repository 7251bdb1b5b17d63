"""/channel/*: subscribing, and the channels themselves."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing.shared import (
    CHANNEL_FAULTS,
    CHANNEL_ID,
    CHANNEL_ID_SHOWN,
    CHANNEL_NAME,
    DEVICE_KEY,
    PASSWORD,
    enveloped,
    united,
)
from tocsin.dialects.pushgo.fields import UNCODED
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.web.openapi import Body, Operation, Parameter
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import Schema, always, flag, listed, nullable, record, text, whole

_DEVICE_FAULTS: Codes = {400: ("device_key_not_found", UNCODED)}
_FORM_FAULTS: Codes = {400: ("channel_id_required", "invalid_channel_id")}


def operations(limits: PushGoLimits) -> dict[str, Operation]:
    """Return the operations."""

    def body(members: dict[str, Schema], *optional: str) -> Body:
        return Body(schema=record(members, optional=optional, closed=True), bytes_max=limits.body_limit_bytes)

    return {
        "POST /channel/subscribe": Operation(
            summary="Subscribe a device to a channel",
            description="Exactly one of `channel_id` and `channel_name`; a name makes a new channel.",
            scope=Scope.MANAGE,
            body=body(
                {
                    "device_key": DEVICE_KEY,
                    "password": PASSWORD,
                    "channel_id": nullable(CHANNEL_ID),
                    "channel_name": nullable(text(CHANNEL_NAME["description"])),
                },
                "channel_id",
                "channel_name",
            ),
            answers={
                200: enveloped(
                    "It is subscribed.",
                    {
                        "channel_id": CHANNEL_ID_SHOWN,
                        "channel_name": CHANNEL_NAME,
                        "created": flag("Whether the channel is new."),
                        "subscribed": always(True),
                    },
                )
            },
            errors=united(
                CHANNEL_FAULTS,
                _DEVICE_FAULTS,
                {
                    400: (
                        "channel_binding_invalid",
                        "invalid_channel_name",
                        "channel_limit_exceeded",
                        "channel_subscriber_limit_exceeded",
                    )
                },
            ),
        ),
        "POST /channel/unsubscribe": Operation(
            summary="End a subscription",
            scope=Scope.MANAGE,
            body=body({"device_key": DEVICE_KEY, "channel_id": CHANNEL_ID}),
            answers={200: enveloped("Whether there was one.", {"channel_id": CHANNEL_ID_SHOWN, "removed": flag()})},
            errors=united(_DEVICE_FAULTS, _FORM_FAULTS),
        ),
    } | _channels(limits)


def _channels(limits: PushGoLimits) -> dict[str, Operation]:
    renamed = record({"channel_id": CHANNEL_ID, "channel_name": CHANNEL_NAME, "password": PASSWORD}, closed=True)
    return {
        "GET /channel/exists": Operation(
            summary="Tell whether a channel exists",
            scope=Scope.READ,
            parameters=(Parameter(name="channel_id", schema=CHANNEL_ID, required=True),),
            answers={
                200: enveloped(
                    "Whether it does, and its name.",
                    {"channel_id": CHANNEL_ID_SHOWN, "exists": flag(), "channel_name": CHANNEL_NAME},
                    "channel_name",
                )
            },
            errors=_FORM_FAULTS,
        ),
        "POST /channel/rename": Operation(
            summary="Rename a channel",
            scope=Scope.MANAGE,
            body=Body(schema=renamed, bytes_max=limits.body_limit_bytes),
            answers={
                200: enveloped("Its name.", {"channel_id": CHANNEL_ID_SHOWN, "channel_name": CHANNEL_NAME}),
            },
            errors=united(CHANNEL_FAULTS, {400: ("invalid_channel_name",), 409: ("changed_meanwhile",)}),
        ),
        "POST /channel/sync": _sync(limits),
    }


def _sync(limits: PushGoLimits) -> Operation:
    wanted = record({"channel_id": CHANNEL_ID, "password": PASSWORD}, closed=True)
    judged = record(
        {
            "channel_id": text("As it was sent where it is no channel id.", example=CHANNEL_ID["examples"][0]),
            "channel_name": CHANNEL_NAME,
            "subscribed": flag(),
            "created": always(False),
            "error": text(),
            "error_code": text(),
        },
        optional=("channel_name", "error", "error_code"),
    )
    return Operation(
        summary="Tell a device's whole list of channels",
        description=(
            "Each item is judged by itself, and the answer is 200. When none fails, the list becomes the device's "
            f"whole set. At most {limits.sync_channels_max} items."
        ),
        scope=Scope.MANAGE,
        body=Body(
            schema=record({"device_key": DEVICE_KEY, "channels": listed(wanted)}, closed=True),
            bytes_max=limits.sync_body_limit_bytes,
        ),
        answers={
            200: enveloped(
                "What became of each.",
                {
                    "total": whole(least=0),
                    "success": whole(least=0),
                    "failed": whole(least=0),
                    "channels": listed(judged),
                },
            )
        },
        errors=united(_DEVICE_FAULTS, {400: ("channels_limit_exceeded",)}),
    )
