"""Who counts as reachable before an event: what a person asked for, not what Tocsin has had to disable since."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import Unprocessable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, IdSequence
from tocsin.core.organisation import Organisation
from tocsin.core.quiet_hours import QuietHours
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

    def __init__(self, engine: SqliteEngine, transports: Collection[Transport] = tuple(Transport)) -> None:
        self.engine = engine
        self.catalog = Catalog(engine)
        self.accounts = Accounts(
            catalog=self.catalog,
            engine=engine,
            vault=Vault(bytes(32), os.urandom),
            clock=StandingClock(),
            ids=IdSequence(os.urandom),
            plan_limits=PLAN_LIMITS,
            transports=transports,
        )

    async def set(self, account: Account) -> None:
        await self.accounts.replace(DEFAULT_ORGANISATION, account, may_change_plan=False)

    async def disable(self, transport: Transport, reason: str | None) -> None:
        """Disable a contact as Tocsin does by itself; without a reason as a person does."""
        await self.save(transport, enabled=False, disabled_reason=reason)

    async def save(self, transport: Transport, **changes: Any) -> None:
        """Change the destination that a contact is."""
        await self.catalog.save(msgspec.structs.replace(self.found(transport), **changes))

    def found(self, transport: Transport) -> Destination:
        """Return the destination that a contact is."""
        found = self.catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.PINGPILOT, transport.value)
        assert isinstance(found, Destination)
        return found

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


def test_people_are_told_in_order_and_a_few_at_once(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.set(Account(discord=DISCORD, telegram=TELEGRAM, email=EMAIL))
        made = house.catalog.destinations(DEFAULT_ORGANISATION)
        assert {each.transport: (each.ordered, each.concurrency) for each in made} == {
            Transport.DISCORD: (True, 1),
            Transport.TELEGRAM: (True, 1),
            Transport.EMAIL: (True, 4),
        }

    play(tmp_path, scene)


def test_what_a_remote_told_of_an_address_is_forgotten_with_it_and_with_nothing_else(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.set(Account(telegram=TELEGRAM))
        await house.save(Transport.TELEGRAM, learned={"chat_id": -1005})
        quiet = QuietHours(start="22:00", end="07:00")
        await house.save(Transport.TELEGRAM, quiet_hours=quiet)
        shown = house.accounts.get(DEFAULT_ORGANISATION)
        await house.set(shown)
        await house.set(Account(telegram=TELEGRAM, email=EMAIL))
        assert house.found(Transport.TELEGRAM).learned == {"chat_id": -1005}
        for other in ("1:y", "2:z"):
            await house.set(Account(telegram=TelegramContact(enabled=True, bot_token=other, chat_id="5")))
            assert house.found(Transport.TELEGRAM).learned == {}
            await house.save(Transport.TELEGRAM, learned={"chat_id": -1005})
        await house.set(Account(telegram=TelegramContact(enabled=True, bot_token="2:z", chat_id="6")))
        assert house.found(Transport.TELEGRAM).learned == {}
        assert house.found(Transport.TELEGRAM).quiet_hours == quiet, "an account has no word for them"

    play(tmp_path, scene)


def test_a_contact_without_its_transport_can_be_kept_but_neither_enabled_nor_counted(tmp_path: Path) -> None:
    async def scene(house: House) -> None:
        await house.set(Account(email=EMAIL))
        without = House(house.engine, (Transport.DISCORD, Transport.TELEGRAM))
        await without.catalog.refresh()
        assert without.unreachable() is Transport.DISCORD
        with pytest.raises(Unprocessable) as refused:
            await without.set(Account(discord=DISCORD, email=EMAIL))
        assert refused.value.code == "transport_unavailable"
        assert [name for name, _ in refused.value.fields] == ["email.enabled"]
        with pytest.raises(Unprocessable):
            await without.set(Account(email=EmailContact(enabled=True)))
        await without.set(Account(discord=DISCORD, email=EmailContact(to=EMAIL.to)))
        assert without.accounts.get(DEFAULT_ORGANISATION).email == EmailContact(to=EMAIL.to)
        assert without.unreachable() is None

    play(tmp_path, scene)
