"""Restraint: turns at an address, rests, and refusals that are counted."""

from __future__ import annotations

import asyncio

import pytest

from remotes import HandClock
from tocsin.transports.restraint import Refusals, Restraint


def test_an_address_that_nobody_waits_for_is_forgotten() -> None:
    async def scenario() -> None:
        restraint = Restraint(HandClock())
        async with restraint.turn("a", wait_s=5):
            with pytest.raises(TimeoutError):
                async with restraint.turn("a", wait_s=0):
                    pass
            async with restraint.turn("b", wait_s=5):
                pass
            assert list(restraint._locks) == ["a"]
        assert not restraint._locks

    asyncio.run(scenario())


def test_rests_are_bounded_and_the_longest_counts() -> None:
    clock = HandClock()
    restraint = Restraint(clock)
    for number in range(5000):
        restraint.rest(str(number), 10)
    assert len(restraint._until_s) == 4096
    restraint.rest("4999", 5)
    assert restraint.left_s(["4999", "never"]) == 10
    clock.at_s += 10
    restraint.rest("new", 1)
    assert list(restraint._until_s) == ["new"]


def test_refusals_are_counted_within_their_window() -> None:
    clock = HandClock()
    refusals = Refusals(clock, most=2, window_s=600)
    refusals.note()
    clock.at_s += 100
    assert refusals.left_s == 0
    refusals.note()
    assert refusals.left_s == 500
    clock.at_s += 500
    assert refusals.left_s == 0
    refusals.note()
    assert refusals.left_s == 100
