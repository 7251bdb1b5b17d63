"""Channel passwords: a right one is remembered, wrong ones use up a budget, and argon2 runs one at a time."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import msgspec
import pytest

from tocsin.core.errors import RateLimited, Unavailable
from tocsin.core.identifiers import ChannelId, OrganisationId
from tocsin.core.organisation import Channel
from tocsin.web.passwords import ChannelPasswords, PasswordLimits

RIGHT = "pass-1234"
HERE = "192.0.2.1"
CHEAP = PasswordLimits(memory_kib=8, passes=1, channel_failures_max=2, client_failures_max=3)
"""argon2 at its cheapest: what is tested is when it runs, not how long."""


@dataclass
class ManualClock:
    """A clock that is moved by hand."""

    passed_s: float = 5000.0

    def now_ms(self) -> int:
        return round(self.passed_s * 1000)

    def monotonic_s(self) -> float:
        return self.passed_s


class Door:
    """Channels that open with ``RIGHT``, and what checks it."""

    def __init__(self, limits: PasswordLimits = CHEAP) -> None:
        self.clock = ManualClock()
        self.passwords = ChannelPasswords(clock=self.clock, entropy=os.urandom, limits=limits)
        self._hash: str | None = None

    async def channel(self, number: int = 1) -> Channel:
        if self._hash is None:
            self._hash = await self.passwords.hash(RIGHT)
        return Channel(
            id=ChannelId(number.to_bytes(16, "big")),
            organisation_id=OrganisationId(bytes(16)),
            name="alerts",
            password_hash=self._hash,
            created_ms=0,
        )

    async def tries(self, channel: Channel, password: str, client: str = HERE) -> bool | float:
        """Return whether it opens, or how long the client is told to wait."""
        try:
            return await self.passwords.matches(channel, password, client=client)
        except RateLimited as error:
            return error.retry_after_s or 0.0


def test_the_right_password_opens_and_a_wrong_one_does_not() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        assert await door.tries(channel, RIGHT) is True
        assert await door.tries(channel, "wrong-1234") is False
        assert await door.tries(channel, RIGHT + "\0") is False

    asyncio.run(scenario())


def test_a_hash_is_argon2id_with_owasps_parameters() -> None:
    async def scenario() -> str:
        return await ChannelPasswords(clock=ManualClock(), entropy=os.urandom).hash(RIGHT)

    assert asyncio.run(scenario()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_right_password_is_answered_from_memory_while_a_flood_has_used_up_every_budget() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        assert await door.tries(channel, RIGHT) is True
        assert [await door.tries(channel, f"wrong-{n}") for n in range(4)] == [False, False, 60.0, 60.0]
        assert await door.tries(channel, RIGHT) is True
        assert await door.tries(channel, RIGHT, client="198.51.100.9") is True

    asyncio.run(scenario())


def test_one_that_is_not_remembered_waits_until_the_oldest_failure_is_out_of_the_window() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        await door.tries(channel, "wrong-1")
        door.clock.passed_s += 10
        await door.tries(channel, "wrong-2")
        assert await door.tries(channel, RIGHT) == 50.0
        door.clock.passed_s += 49.5
        assert await door.tries(channel, RIGHT) == 0.5
        door.clock.passed_s += 0.5
        assert await door.tries(channel, RIGHT) is True

    asyncio.run(scenario())


def test_a_refusal_has_a_code_of_its_own() -> None:
    async def scenario() -> None:
        door = Door(msgspec.structs.replace(CHEAP, channel_failures_max=1))
        channel = await door.channel()
        assert await door.tries(channel, "wrong-1") is False
        with pytest.raises(RateLimited) as refusal:
            await door.passwords.matches(channel, "wrong-2", client=HERE)
        assert refusal.value.code == "too_many_attempts"

    asyncio.run(scenario())


def test_a_channel_s_budget_is_its_own_and_a_client_s_is_over_all_channels() -> None:
    async def scenario() -> None:
        door = Door()
        first, second = await door.channel(1), await door.channel(2)
        assert [await door.tries(first, f"wrong-{n}") for n in range(3)] == [False, False, 60.0]
        assert await door.tries(second, "wrong-1") is False
        assert await door.tries(second, "wrong-2") == 60.0
        assert await door.tries(second, "wrong-3", client="192.0.2.2") is False

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("client", "counted_as_the_same"),
    [("2001:db8::2", True), ("2001:db8:0:1::1", False), ("192.0.2.1", False), ("", False)],
)
def test_the_addresses_of_one_ipv6_site_share_a_budget(client: str, counted_as_the_same: bool) -> None:
    async def scenario() -> bool | float:
        door = Door(msgspec.structs.replace(CHEAP, client_failures_max=1))
        await door.tries(await door.channel(1), "wrong-1", client="2001:db8::1")
        return await door.tries(await door.channel(2), "wrong-1", client=client)

    assert asyncio.run(scenario()) == (60.0 if counted_as_the_same else False)


def test_a_changed_password_makes_what_is_remembered_of_the_old_one_worthless() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        assert await door.tries(channel, RIGHT) is True
        changed = msgspec.structs.replace(channel, password_hash=await door.passwords.hash("other-1234"))
        assert await door.tries(changed, RIGHT) is False
        assert await door.tries(changed, "other-1234") is True

    asyncio.run(scenario())


async def _use_up(door: Door, channel: Channel) -> None:
    for number in range(2):
        assert await door.tries(channel, f"wrong-{number}") is False


def test_a_password_is_forgotten_some_time_after_its_last_use() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        assert await door.tries(channel, RIGHT) is True
        door.clock.passed_s += 599
        assert await door.tries(channel, RIGHT) is True
        door.clock.passed_s += 599
        await _use_up(door, channel)
        assert await door.tries(channel, RIGHT) is True
        door.clock.passed_s += 600
        await _use_up(door, channel)
        assert await door.tries(channel, RIGHT) == 60.0

    asyncio.run(scenario())


def test_of_more_passwords_than_fit_the_one_unused_for_longest_is_forgotten() -> None:
    async def scenario() -> None:
        limits = msgspec.structs.replace(CHEAP, cache_entries_max=2, client_failures_max=100)
        door = Door(limits)
        channels = [await door.channel(number) for number in (1, 2, 3)]
        for channel in (channels[0], channels[1], channels[0], channels[2]):
            assert await door.tries(channel, RIGHT) is True
        for channel in channels:
            await _use_up(door, channel)
        assert [await door.tries(channel, RIGHT) for channel in channels] == [True, 60.0, True]

    asyncio.run(scenario())


def test_of_more_budgets_than_fit_the_one_unused_for_longest_is_forgotten() -> None:
    async def scenario() -> None:
        door = Door(msgspec.structs.replace(CHEAP, budgets_max=2, client_failures_max=100))
        first, second, third = [await door.channel(number) for number in (1, 2, 3)]
        assert await door.tries(first, "wrong-1") is False
        await _use_up(door, second)
        assert await door.tries(first, "wrong-2") is False
        assert await door.tries(third, "wrong-1") is False
        assert await door.tries(first, "wrong-3") == 60.0
        assert await door.tries(second, "wrong-3") is False

    asyncio.run(scenario())


def test_above_the_queue_clients_are_asked_to_come_back() -> None:
    async def scenario() -> list[bool | BaseException]:
        door = Door(msgspec.structs.replace(CHEAP, queue_max=2, client_failures_max=100))
        channels = [await door.channel(number) for number in range(5)]
        return await asyncio.gather(
            *(door.passwords.matches(channel, RIGHT, client=HERE) for channel in channels), return_exceptions=True
        )

    results = asyncio.run(scenario())

    # One under way and two that wait.
    assert results[:3] == [True, True, True]
    assert [type(result) for result in results[3:]] == [Unavailable, Unavailable]


def test_new_passwords_wait_in_the_same_queue() -> None:
    async def scenario() -> None:
        door = Door(msgspec.structs.replace(CHEAP, queue_max=0))
        channel = await door.channel()
        hashing = asyncio.create_task(door.passwords.hash("other-1234"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await door.passwords.matches(channel, RIGHT, client=HERE)
        await hashing
        assert await door.tries(channel, RIGHT) is True

    asyncio.run(scenario())


def test_requests_that_show_one_password_at_once_share_a_check() -> None:
    async def scenario() -> None:
        door = Door(msgspec.structs.replace(CHEAP, queue_max=0))
        channel = await door.channel()
        together = [door.passwords.matches(channel, RIGHT, client=HERE) for _ in range(50)]
        assert await asyncio.gather(*together) == [True] * 50
        wrong = [door.passwords.matches(channel, "wrong-1234", client=HERE) for _ in range(50)]
        assert await asyncio.gather(*wrong) == [False] * 50
        # Counted once: the budget is of two.
        assert await door.tries(channel, "wrong-1235") is False
        assert await door.tries(channel, "wrong-1236") == 60.0

    asyncio.run(scenario())


def test_who_goes_away_does_not_take_the_answer_from_those_who_share_it() -> None:
    async def scenario() -> None:
        door = Door()
        channel = await door.channel()
        first = asyncio.create_task(door.passwords.matches(channel, RIGHT, client=HERE))
        second = asyncio.create_task(door.passwords.matches(channel, RIGHT, client=HERE))
        await asyncio.sleep(0)
        first.cancel()
        assert await second is True
        assert first.cancelled()

    asyncio.run(scenario())


def test_those_who_wait_behind_a_flood_are_refused_without_a_check_once_it_used_up_the_budget() -> None:
    async def scenario() -> list[bool | BaseException]:
        door = Door(msgspec.structs.replace(CHEAP, client_failures_max=100))
        channel = await door.channel()
        return await asyncio.gather(
            *(door.passwords.matches(channel, f"wrong-{n}", client=HERE) for n in range(10)), return_exceptions=True
        )

    results = asyncio.run(scenario())

    assert results[:2] == [False, False]
    assert {type(result) for result in results[2:]} == {RateLimited}
