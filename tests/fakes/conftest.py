"""Fixtures of the fakes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tocsin.fakes import Fakes, running
from tocsin.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the fakes, which stands still."""
    return ManualClock()


@pytest.fixture
def fakes(clock: ManualClock) -> Iterator[Fakes]:
    """All fakes, on free ports."""
    with running(Fakes(clock=clock)) as house:
        yield house.fakes
