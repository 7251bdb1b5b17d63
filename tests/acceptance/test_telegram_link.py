"""From a bot without a chat to a person who is told: the real gateway, against a Telegram on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.commands import Shell
from cli.following import following
from gateway import Gateway
from stores import Store
from tenants import Tenant, tenant_of
from tocsin.cli.exits import FAILED, REFUSED
from tocsin.fakes import running
from tocsin.fakes.house import Running

pytestmark = pytest.mark.acceptance

BOT = "123456:canary-of-the-bot"
WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Scene:
    """A gateway, and the Telegram that it knows."""

    gateway: Gateway
    fakes: Running

    def start(self, token: str, chat_id: int) -> None:
        """Let a person follow a link."""
        self.fakes.call(lambda: self.fakes.fakes.telegram.start(token, chat_id=chat_id))

    def hears(self, chat_id: int, text: str) -> str:
        """Return what was said in a chat, once it holds a text."""
        telegram = self.fakes.fakes.telegram

        def heard() -> list[str]:
            said = [each for each in telegram.messages if each.chat_id == str(chat_id) and not each.by_user]
            return [each.text for each in said if text in each.text]

        assert telegram.arrivals.wait_until(lambda: bool(heard()), WAIT_S), telegram.messages
        return heard()[0]


@pytest.fixture(name="scene", scope="module")
def _scene(store: Store) -> Iterator[Scene]:
    with running() as fakes, store.gateway_with(fakes.fakes.settings()) as gateway:
        yield Scene(gateway, fakes)


@pytest.fixture(name="tenant")
def _tenant(scene: Scene) -> Tenant:
    return tenant_of(scene.gateway)


def token_of(link: dict[str, str]) -> str:
    """Return what a person's Telegram sends when they follow a link."""
    head, _, token = link["url"].partition("?start=")
    assert head == "https://t.me/tocsin_fake_bot"
    assert set(link) == {"url", "expires_at"}
    return token


def test_the_accounts_person_connects_and_is_told_of_events(scene: Scene, tenant: Tenant) -> None:
    tenant.put("/api/v1/account", {"telegram": {"enabled": True, "bot_token": BOT}})
    tenant.post("/api/v1/categories", {"name": "bug", "color": "#ff6b6b", "emoji": "\U0001f41b"})
    refused = tenant.ask("POST", "/api/v1/event", {"category": "bug"})
    assert (refused.status, b"Telegram" in refused.body) == (403, True)
    link = tenant.post("/api/v1/account/telegram/link")
    path = "/api/v1/account/telegram/link"
    assert tenant.get(path) == {"state": "waiting", "error": None}
    scene.start(token_of(link), 4242)
    assert scene.hears(4242, "Connected") == "Connected: the events of exchanges will be told here."
    assert tenant.get(path) == {"state": "connected", "error": None}
    shown = tenant.get("/api/v1/account")["telegram"]
    assert shown == {"enabled": True, "bot_token": "***", "chat_id": 4242}
    told = tenant.post("/api/v1/event", {"category": "bug", "description": "Checkout fails"})
    assert told["message"] == "Event processed successfully"
    assert "Description: Checkout fails" in scene.hears(4242, "Event Notification")


def test_who_made_the_link_has_changed_the_destination(scene: Scene, tenant: Tenant) -> None:
    wanted = {"name": "chat", "transport": "telegram", "address": {"bot_token": BOT}}
    made = tenant.post("/api/v1/destinations", wanted)
    path = f"/api/v1/destinations/{made['id']}/telegram-link"
    scene.start(token_of(tenant.post(path)), 77)
    scene.hears(77, "Connected")
    connected, opened = tenant.get("/api/v1/audit?limit=2")["records"]
    assert (connected["action"], connected["subject"]) == ("destination.updated", made["id"])
    assert connected["summary"]["also"] == ["address"]
    assert connected["actor"]["key_id"] == opened["actor"]["key_id"]
    assert (opened["action"], opened["summary"]) == ("telegram.link_opened", {"destination": made["id"]})
    answer = tenant.ask("GET", "/api/v1/audit?limit=100").body
    assert b"canary" not in answer
    tenant.post(f"/api/v1/destinations/{made['id']}/test")
    scene.hears(77, "tocsin.test")


def test_the_command_waits_until_somebody_follows(scene: Scene, tenant: Tenant, tmp_path: Path) -> None:
    wanted = {"name": "us", "transport": "telegram", "address": {"bot_token": BOT}}
    tenant.post("/api/v1/destinations", wanted)
    shell = Shell(tmp_path, tenant)
    with following(shell, "destinations", "telegram-link", "us") as command:
        url = command.out.next()
        assert "it is good until" in command.err.next()
        scene.start(url.partition("?start=")[2], 99)
        assert command.ended() == 0
        assert command.err.rest() == ["connected"]
    shown = shell.ok("destinations", "get", "us")
    assert shown["address"] == {"bot_token": "***", "chat_id": 99}


def test_the_command_says_why_nobody_can_follow(scene: Scene, tenant: Tenant, tmp_path: Path) -> None:
    shell = Shell(tmp_path, tenant)
    shell.refused(REFUSED, "account", "telegram-link", says="the account has no Telegram bot yet")
    tenant.put("/api/v1/account", {"telegram": {"enabled": True, "bot_token": BOT}})
    link = shell.ok("account", "telegram-link", "--no-wait", "--output", "json")
    assert set(link) == {"url", "expires_at"}
    with following(shell, "account", "telegram-link") as command:
        assert command.out.next().startswith("https://t.me/tocsin_fake_bot?start=")
        tenant.put("/api/v1/account", {"telegram": {"enabled": True, "bot_token": "1:another"}})
        scene.start(command.out.read[0].partition("?start=")[2], 5)
        assert command.ended() == FAILED
        assert command.err.rest()[-1] == "tocsin: the link failed: the destination has another bot by now"
