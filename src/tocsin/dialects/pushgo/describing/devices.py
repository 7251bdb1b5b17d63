"""/device/register and /channel/device/*."""

from __future__ import annotations

from tocsin.core.device import PushType
from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.describing.shared import DEVICE_KEY, enveloped
from tocsin.dialects.pushgo.fields import UNCODED
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.web.openapi import Body, Operation
from tocsin.web.openapi.schemas import Schema, always, flag, nullable, one_of, record, text

_PLATFORM = text("ios, ipados, macos, watchos, android, windows or win, in any case.", example="ios")
_CHANNEL_TYPE = text(f"One of {', '.join(PushType)}, in any case.", example="private")
_TOKEN = text("The vendor's address of the device.", example="0123456789abcdef" * 4)
_ISSUED = {"device_key": DEVICE_KEY, "channel_type": one_of(PushType), "issued_new_key": always(False)}


def operations(limits: PushGoLimits) -> dict[str, Operation]:
    """Return the operations."""

    def body(members: dict[str, Schema], *optional: str) -> Body:
        return Body(schema=record(members, optional=optional, closed=True), bytes_max=limits.body_limit_bytes)

    return {
        "POST /device/register": Operation(
            summary="Register a device",
            description="A known key with another platform is replaced by a new one.",
            scope=Scope.MANAGE,
            body=body({"platform": _PLATFORM, "device_key": nullable(text())}, "device_key"),
            answers={
                200: enveloped(
                    "The key under which it is known from now on.",
                    {
                        "device_key": DEVICE_KEY,
                        "issued_new_key": flag(),
                        "issue_reason": one_of(("device_key_missing", "device_key_not_found", "platform_mismatch")),
                    },
                    "issue_reason",
                )
            },
            errors={400: ("invalid_platform",)},
        ),
        "POST /channel/device": _change(limits),
        "POST /channel/device/delete": Operation(
            summary="Forget a device's vendor address",
            scope=Scope.MANAGE,
            body=body({"device_key": DEVICE_KEY, "channel_type": _CHANNEL_TYPE}),
            answers={200: enveloped("It is forgotten.", _ISSUED)},
            errors={400: ("device_key_not_found", "invalid_channel_type", "channel_type_mismatch", UNCODED)},
        ),
        "POST /channel/device/provider-token/retire": Operation(
            summary="Say that a vendor's address is dead",
            scope=Scope.MANAGE,
            body=body({"platform": _PLATFORM, "provider_token": _TOKEN}),
            answers={200: enveloped("It is noted.", {"retired": always(True)})},
            errors={400: ("invalid_platform", "provider_token_required", UNCODED)},
        ),
    }


def _change(limits: PushGoLimits) -> Operation:
    wanted = record(
        {
            "device_key": DEVICE_KEY,
            "channel_type": _CHANNEL_TYPE,
            "platform": nullable(_PLATFORM),
            "provider_token": nullable(text(_TOKEN["description"])),
        },
        optional=("platform", "provider_token"),
        closed=True,
    )
    return Operation(
        summary="Set by which vendor a device could be woken",
        description="Every device is served by pull, whatever its type.",
        scope=Scope.MANAGE,
        body=Body(schema=wanted, bytes_max=limits.body_limit_bytes),
        answers={200: enveloped("It is set.", {**_ISSUED, "provider_token": text()}, "provider_token")},
        errors={
            400: (
                "device_key_not_found",
                "invalid_channel_type",
                "invalid_platform",
                "platform_mismatch",
                "provider_token_required",
                "provider_token_forbidden_for_private_channel",
                "apns_channel_requires_apple_platform",
                "fcm_channel_requires_android_platform",
                "wns_channel_requires_windows_platform",
                UNCODED,
            )
        },
    )
