"""Plans and their limits."""

from __future__ import annotations

import itertools

import msgspec

from tocsin.core.quota import PLAN_LIMITS, Plan


def test_every_plan_has_limits() -> None:
    assert set(PLAN_LIMITS) == set(Plan)


def test_a_dearer_plan_allows_no_less() -> None:
    for cheap, dear in itertools.pairwise(Plan):
        for less, more in zip(
            msgspec.structs.astuple(PLAN_LIMITS[cheap]), msgspec.structs.astuple(PLAN_LIMITS[dear]), strict=True
        ):
            assert more is None or (less is not None and less <= more)


def test_unlimited_is_unlimited() -> None:
    assert set(msgspec.structs.astuple(PLAN_LIMITS[Plan.UNLIMITED])) == {None}
