"""Restraint: turns at an address, rests, and refusals that are counted."""

from __future__ import annotations

import asyncio

import pytest

from remotes import HandClock
from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId
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
    refusals = Refusals(clock, most=2, share=2, window_s=600)
    refusals.note(DEFAULT_ORGANISATION)
    clock.at_s += 100
    assert refusals.left_s == 0
    refusals.note(DEFAULT_ORGANISATION)
    assert refusals.left_s == 500
    clock.at_s += 500
    assert refusals.left_s == 0
    refusals.note(DEFAULT_ORGANISATION)
    assert refusals.left_s == 100


def test_who_causes_more_than_a_share_is_held_back_alone_and_little_is_kept_of_it() -> None:
    clock = HandClock()
    refusals = Refusals(clock, most=5, share=2, window_s=600)
    evil, good = OrganisationId(b"e" * 16), OrganisationId(b"g" * 16)
    refusals.note(evil)
    clock.at_s += 10
    refusals.note(good)
    refusals.note(evil)
    assert (refusals.own_left_s(evil), refusals.own_left_s(good), refusals.left_s) == (590, 0, 0)
    # What was on its way already counts too.
    refusals.note(evil)
    assert refusals.own_left_s(evil) == 600
    clock.at_s += 600
    assert refusals.own_left_s(evil) == 0
    refusals.note(good)
    assert (list(refusals._own), len(refusals._all)) == ([good], 1)
    for number in range(100):
        refusals.note(OrganisationId(number.to_bytes(16, "big")))
    assert (len(refusals._own), len(refusals._all)) == (5, 5)
    assert refusals.left_s == 600
