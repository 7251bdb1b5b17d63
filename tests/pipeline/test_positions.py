"""Positions as readers see them."""

from __future__ import annotations

import pytest

from tocsin.core.identifiers import OrganisationId
from tocsin.pipeline.live import Positions

MINE = OrganisationId(b"m" * 16)
THEIRS = OrganisationId(b"t" * 16)
POSITIONS = Positions(b"k" * 32)


@pytest.mark.parametrize("position", [0, 1, 255, 2**40, 2**63 - 1])
def test_a_position_comes_back(position: int) -> None:
    shown = POSITIONS.shown(MINE, position)
    assert POSITIONS.parse(MINE, shown) == position
    assert Positions(b"k" * 32).shown(MINE, position) == shown, "the same after a restart"


def test_another_organisations_position_is_not_understood() -> None:
    assert POSITIONS.parse(THEIRS, POSITIONS.shown(MINE, 7)) is None
    assert Positions(b"l" * 32).parse(MINE, POSITIONS.shown(MINE, 7)) is None


def test_neighbours_look_nothing_alike() -> None:
    shown = [POSITIONS.shown(MINE, position) for position in range(1000)]
    assert len({each[:12] for each in shown}) > 990
    assert shown != sorted(shown)


@pytest.mark.parametrize(
    "text", ["", "7", "pos_", "pos_7", "pos_" + "0" * 32, "pos_" + "0" * 33, "pos_" + "\u0660" * 32]
)
def test_what_no_stream_gave_is_not_understood(text: str) -> None:
    assert POSITIONS.parse(MINE, text) is None
