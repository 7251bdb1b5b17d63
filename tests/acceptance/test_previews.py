"""A preview is what people are told, word for word: the real gateway, against what tells them on real sockets."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stores import Store
from tenants import tenant_of
from tocsin.fakes import Fakes, running
from tocsin.pipeline.previews import SAMPLE_FIELDS

pytestmark = pytest.mark.acceptance

WAIT_S = 30.0
OUTSIDE = {"TOCSIN_PUBLIC_URL": "https://tocsin.example.com"}
SAID = "Somebody bought *everything* for <b>99.5</b> @everyone"


def timeless(text: str) -> str:
    """Return a text with every time and every id of a message alike."""
    text = re.sub(r"[0-9-]{10}T[0-9:.]{8,}Z", "<time>", text)
    text = re.sub(r"/unsubscribe/[0-9A-Za-z_-]+", "/unsubscribe/<token>", text)
    return re.sub(r"[0-9a-f]{32}", "<id>", text)


def apart(text: str) -> str:
    """Return a header without what differs from mail to mail, and without the way in which it is folded."""
    return re.sub(r"[0-9]{2}:[0-9]{2}:[0-9]{2}", "<time>", " ".join(timeless(str(text)).split()))


def test_a_preview_is_what_people_are_told(store: Store) -> None:
    with running() as house, store.gateway_with(house.fakes.settings() | OUTSIDE) as gateway:
        fakes: Fakes = house.fakes
        tenant = tenant_of(gateway)
        tenant.post("/api/v1/categories", {"name": "sale", "color": "#ffeb3b", "emoji": "\U0001f4b0"})
        tenant.put(
            "/api/v1/account",
            {
                "discord": {"enabled": True, "webhook_url": f"{fakes.discord.api_base}/webhooks/123/canary-token"},
                "telegram": {"enabled": True, "bot_token": "123:abc", "chat_id": 42},
                "email": {"enabled": True, "to": ["ops@example.com"]},
            },
        )
        tenant.post("/api/v1/event", {"category": "sale", "description": SAID, "fields": SAMPLE_FIELDS})
        assert fakes.discord.arrivals.wait_until(lambda: len(fakes.discord.messages) == 1, WAIT_S)
        assert fakes.telegram.arrivals.wait_until(lambda: len(fakes.telegram.messages) == 1, WAIT_S)
        assert fakes.smtp.arrivals.wait_until(lambda: len(fakes.smtp.mails) == 1, WAIT_S)

        def preview(channel: str) -> Any:
            query = "description=Somebody%20bought%20*everything*%20for%20%3Cb%3E99.5%3C/b%3E%20@everyone"
            shown = tenant.get(f"/api/v1/categories/sale/preview?channel={channel}&{query}")
            assert shown.pop("channel") == channel
            return shown

        (embed,) = preview("discord")["payload"]["embeds"]
        (told,) = fakes.discord.messages[0].embeds
        assert timeless(repr({name: told[name] for name in embed})) == timeless(repr(embed))
        assert [timeless(text) for text in preview("telegram")["texts"]] == [
            timeless(fakes.telegram.messages[0].text)
        ]
        mail = preview("email")
        real = fakes.smtp.mails[0].message
        assert {name: apart(text) for name, text in mail["headers"].items()} == {
            name: apart(text) for name, text in real.items()
        }
        parts = {part.get_content_subtype(): part.get_content() for part in real.iter_parts()}
        assert timeless(mail["text"]) == timeless(parts["plain"]).replace("\r\n", "\n")
        assert timeless(mail["html"]) == timeless(parts["html"]).replace("\r\n", "\n")
        assert "/unsubscribe/<token>" in timeless(mail["text"])
