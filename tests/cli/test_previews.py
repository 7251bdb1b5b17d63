"""``tocsin categories preview``, and destinations that people reach by Telegram and Apprise."""

from __future__ import annotations

import pytest

from cli.commands import Shell
from tocsin.cli.exits import NOT_FOUND, REFUSED, USAGE

pytestmark = pytest.mark.acceptance


def test_a_preview_is_shown(shell: Shell) -> None:
    shell.tenant.category()
    shown = shell.ok("categories", "preview", "bug", "--channel", "telegram", "--description", "Checkout fails")
    assert shown["channel"] == "telegram"
    assert "Description: Checkout fails" in shown["texts"][0]
    (embed,) = shell.ok("categories", "preview", "BUG", "--channel", "discord")["payload"]["embeds"]
    assert embed["description"] == "A new bug event has occurred!"
    done = shell.run("categories", "preview", "bug", "--channel", "email", "--output", "table")
    assert done.status == 0
    assert done.out.splitlines()[:4] == ["Subject: PingPilot Alert", "", "\U0001f514 Bug", "====="]
    shell.refused(NOT_FOUND, "categories", "preview", "sale", "--channel", "email", says="category not found")
    assert shell.run("categories", "preview", "bug", "--channel", "webhook").status == USAGE


def test_a_bot_without_a_chat_is_made_and_a_service_must_be_there(shell: Shell) -> None:
    made = shell.ok(
        "destinations", "create", "us", "--quiet", "--transport", "telegram", "--body",
        '{"address": {"bot_token": "1:abc"}}',
    )  # fmt: skip
    assert made["address"] == {"bot_token": "***"}
    shell.refused(
        REFUSED, "destinations", "create", "phone", "--transport", "apprise", "--service", "ops",
        says="the transport apprise is not available",
    )  # fmt: skip
