"""The routes by which people see what they would be told, and connect where they are told it."""

from __future__ import annotations

from tocsin.core.organisation import Scope
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.previews import CHANNEL_NAMES
from tocsin.pipeline.telegram_binding import LinkState
from tocsin.web.openapi import Answer, Operation, Parameter
from tocsin.web.openapi.schemas import Schema, either, listed, mapping, nullable, one_of, record, ref, text, time

_ACCOUNT = "/api/v1/account/telegram/link"
_DESTINATION = "/api/v1/destinations/{destination_id}/telegram-link"
_LINK_FAULTS = {
    409: ("telegram_bot_missing", "telegram_webhook_set", "telegram_link_limit_reached"),
    422: ("telegram_bot_refused",),
    503: ("telegram_unavailable",),
}
_HOW = (
    "For a bot without a chat, or for another chat. Whoever follows the link, or writes `/start` and its token to "
    "the bot, is told from then on; the link is good once. Meanwhile the bot is asked for what people write to it."
)


def operations(limits: NativeLimits) -> dict[str, Operation]:
    """Return the operations."""
    link = Answer(description="The link.", schema=ref("TelegramLink"))
    status = Answer(description="Where the newest link stands.", schema=ref("TelegramLinkStatus"))
    gone = ("telegram_link_not_found",)
    return {
        f"POST {_ACCOUNT}": Operation(
            summary="Make a link that connects a Telegram chat with the account",
            description=_HOW,
            scope=Scope.MANAGE,
            answers={201: link},
            errors=_LINK_FAULTS,
        ),
        f"GET {_ACCOUNT}": Operation(
            summary="Show whether somebody has followed the account's link",
            scope=Scope.READ,
            answers={200: status},
            errors={404: gone, 409: ("telegram_bot_missing",)},
        ),
        f"POST {_DESTINATION}": Operation(
            summary="Make a link that connects a Telegram chat with a destination",
            description=_HOW,
            scope=Scope.MANAGE,
            answers={201: link},
            errors={404: ("not_found",), **_LINK_FAULTS},
        ),
        f"GET {_DESTINATION}": Operation(
            summary="Show whether somebody has followed a destination's link",
            scope=Scope.READ,
            answers={200: status},
            errors={404: ("not_found", *gone)},
        ),
        "GET /api/v1/categories/{name}/preview": _preview(limits),
    }


def _preview(limits: NativeLimits) -> Operation:
    most = limits.description_characters_max
    return Operation(
        summary="Show a category's event as people would see it",
        description="A sample, rendered by the code that tells people of real events.",
        scope=Scope.READ,
        parameters=(
            Parameter(name="channel", schema=one_of(CHANNEL_NAMES), required=True),
            Parameter(name="description", schema=text(least=1, most=most), description="The event's; usual is none."),
        ),
        answers={200: Answer(description="The sample.", schema=ref("CategoryPreview"))},
        errors={404: ("category_not_found",)},
    )


def schemas() -> dict[str, Schema]:
    """Return what these operations refer to."""
    mail = {name: text() for name in ("subject", "text", "html")}
    channel = {name: one_of((name,)) for name in CHANNEL_NAMES}
    return {
        "TelegramLink": record(
            {
                "url": text("To be opened by the person.", example="https://t.me/our_bot?start=bXkgdG9rZW4gaXMgMTI4"),
                "expires_at": time(),
            }
        ),
        "TelegramLinkStatus": record(
            {"state": one_of(LinkState), "error": nullable(text("Why it failed; null otherwise."))}
        ),
        "CategoryPreview": either(
            record({"channel": channel["discord"], "payload": mapping(description="As Discord takes it.")}),
            record({"channel": channel["telegram"], "texts": listed(text(), "One message each.", least=1)}),
            record({"channel": channel["email"], **mail, "headers": mapping(text())}),
        ),
    }
