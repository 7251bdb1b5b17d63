"""A gateway and the fakes that it tells people at; organisations whose people are told by all three."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from gateway import Gateway
from stores import Store
from tenants import Tenant, tenant_of
from tocsin.fakes import DiscordMessage, Fakes, Mail, Rate, Received, TelegramMessage, running

PATIENCE_S = 30.0
TOKEN = "123456:token"
ADDRESSES = ("discord", "telegram", "email")

_numbers = count(1)


class Street:
    """A gateway, and the fakes that it sends to."""

    def __init__(self, gateway: Gateway, fakes: Fakes, call: Callable[[Callable[[], None]], None]) -> None:
        self.gateway = gateway
        self.fakes = fakes
        self.call = call

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Return once the condition holds, which is looked at after everything that happens at any of the fakes."""
        ends_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < ends_s, f"it never came to this: {what}"
            for each in (self.fakes.discord, self.fakes.telegram, self.fakes.smtp):
                each.arrivals.wait_until(condition, 0.05)

    def leave(self, *, back: bool = False) -> None:
        """Take Discord away, or bring it back."""
        discord = self.fakes.discord
        task: list[asyncio.Future[None]] = []
        self.call(lambda: task.append(asyncio.ensure_future(discord.come_back() if back else discord.leave())))
        self.until(task[0].done, "Discord is back" if back else "Discord is away")


class House:
    """An organisation whose people are told by all three, each at an address of its own."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.number = next(_numbers)
        self.tenant: Tenant = tenant_of(street.gateway)
        self.webhook_url = street.fakes.discord.webhook_url(str(self.number))
        self.mail_address = f"ops{self.number}@example.com"

    def account(self) -> None:
        """Make the category and tell whom its events are told."""
        self.tenant.post("/api/v1/categories", {"name": "bug", "color": "#ff0000", "emoji": "🐛"})
        self.tenant.put("/api/v1/account", {name: {"enabled": True, **self.address(name)} for name in ADDRESSES})

    def address(self, transport: str) -> dict[str, Any]:
        """Return where a transport finds this house."""
        addresses: dict[str, dict[str, Any]] = {
            "discord": {"webhook_url": self.webhook_url},
            "telegram": {"bot_token": TOKEN, "chat_id": self.number},
            "email": {"to": [self.mail_address]},
        }
        return addresses[transport]

    def destination(self, transport: str, **fields: Any) -> dict[str, Any]:
        """Make a destination."""
        body = {"name": transport, "transport": transport, "address": self.address(transport), **fields}
        made: dict[str, Any] = self.tenant.post("/api/v1/destinations", body)
        return made

    def change(self, transport: str, **fields: Any) -> None:
        """Change the destination of this transport."""
        listed = self.tenant.get("/api/v1/destinations")["destinations"]
        (found,) = [each for each in listed if each["transport"] == transport]
        answer = self.tenant.ask("PATCH", f"/api/v1/destinations/{found['id']}", fields)
        assert answer.status == 200, answer.body

    @property
    def discord(self) -> list[DiscordMessage]:
        """What stands in its Discord channel."""
        return [each for each in self.street.fakes.discord.messages if each.place == f"webhook {self.number}"]

    @property
    def telegram(self) -> list[TelegramMessage]:
        """What stands in its Telegram chat."""
        return [each for each in self.street.fakes.telegram.messages if each.chat_id == str(self.number)]

    @property
    def mails(self) -> list[Mail]:
        """What lies in its mailbox."""
        return [each for each in self.street.fakes.smtp.mails if self.mail_address in each.recipients]

    @property
    def told(self) -> tuple[int, int, int]:
        """How many messages there are in each."""
        return len(self.discord), len(self.telegram), len(self.mails)

    def until_told(self, *wanted: int) -> None:
        """Return once there are so many messages in each."""
        self.street.until(lambda: self.told >= wanted and self.told == wanted, f"{wanted} messages, not {self.told}")

    def at_discord(self) -> list[Received]:
        """Return the requests to its webhook, in order."""
        path = self.webhook_url.removeprefix(self.street.fakes.discord.url)
        return [each for each in self.street.fakes.discord.requests if each.target.startswith(path)]


@contextmanager
def street_with(store: Store, rate: Rate) -> Iterator[Street]:
    """Run a gateway and the fakes.

    Args:
        store: of the gateway.
        rate: what each of Discord's webhooks takes.
    """
    with running(Fakes(rate=rate)) as house:
        settings = {**house.fakes.settings(), "TOCSIN_SMTP_FROM": "Tocsin <alerts@tocsin.example>"}
        with store.gateway_with(settings) as gateway:
            yield Street(gateway, house.fakes, house.call)
