"""Who counts as reachable before an event: what a person asked for, not what Tocsin has had to disable since."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, IdSequence
from tocsin.core.organisation import Organisation
from tocsin.core.quota import PLAN_LIMITS
from tocsin.engine.sqlite.engine import SqliteEngine, SqliteSettings
from tocsin.pipeline.account import Account, Accounts
from tocsin.pipeline.account.people import DiscordContact, EmailContact, TelegramContact
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.vault import Vault

EMAIL = EmailContact(enabled=True, to=("ops@example.com",))
TELEGRAM = TelegramContact(enabled=True, bot_token="1:x", chat_id="5")
DISCORD = DiscordContact(enabled=True, webhook_url="https://discord.example/api/webhooks/1/x")


class StandingClock:
    """Stands still."""

    def now_ms(self) -> int:
        return 1_700_000_000_000

    def monotonic_s(self) -> float:
        return 1_700_000_000.0


class House:
    """Accounts over a real engine."""

    def __init__(self, engine: SqliteEngine) -> None:
        self.catalog = Catalog(engine)
        self.accounts = Accounts(
            catalog=self.catalog,
            engine=engine,
            vault=Vault(bytes(32), os.urandom),
            clock=StandingClock(),
            ids=IdSequence(os.urandom),
            plan_limits=PLAN_LIMITS,
        )

    async def set(self, account: Account) -> None:
        await self.accounts.replace(DEFAULT_ORGANISATION, account, may_change_plan=False)

    async def disable(self, transport: Transport, reason: str | None) -> None:
        """Disable a contact as Tocsin does by itself; without a reason as a person does."""
        found = self.catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.PINGPILOT, transport.value)
        assert isinstance(found, Destination)
        await self.catalog.save(msgspec.structs.replace(found, enabled=False, disabled_reason=reason))

    def unreachable(self) -> Transport | None:
        return self.accounts.unreachable(DEFAULT_ORGANISATION)


Scene = Callable[[House], Awaitable[None]]


def play(directory: Path, scene: Scene) -> None:
    async def run() -> None:
        engine = SqliteEngine(SqliteSettings(directory=directory), clock=StandingClock(), on_fatal=pytest.fail)
        await engine.open()
        try:
            house = House(engine)
            await house.catalog.save(Organisation(id=DEFAULT_ORGANISATION, name="shop", created_ms=0))
            await scene(house)
        finally:
            await engine.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("account", "transport"),
    [
        (Account(discord=DISCORD), Transport.DISCORD),
        (Account(telegram=TELEGRAM), Transport.TELEGRAM),
        (Account(email=EMAIL), Transport.EMAIL),
    ],
    ids=lambda each: each.value if isinstance(each, Transport) else "",
)
def test_the_only_contact_counts_although_tocsin_disabled_it(
    tmp_path: Path, account: Account, transport: Transport
) -> None:
    async def scene(house: House) -> None:
        await house.set(account)
        assert house.unreachable() is None
        await house.disable(transport, "the receiver answered 410 Gone")
        assert house.unreachable() is None
        await house.disable(transport, None)
        assert house.unreachable() is Transport.DISCORD

    play(tmp_path, scene)


def test_a_contact_whose_address_was_taken_away_since_does_not_count(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.set(Account(telegram=TELEGRAM, email=EMAIL))
        await house.disable(Transport.TELEGRAM, "the receiver answered 410 Gone")
        await house.set(Account(telegram=TelegramContact(bot_token="1:x"), email=EMAIL))
        assert house.unreachable() is None
        await house.set(Account(telegram=TelegramContact(bot_token="1:x")))
        assert house.unreachable() is Transport.DISCORD

    play(tmp_path, scene)
