"""What PushGo's tests without a socket share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dialects.pushgo.stage import USUAL, Gateway, ManualClock, Play, Scenario, Unhurried
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.engine.sqlite.engine import SqliteSettings


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return what plays a scenario on a gateway of its own."""

    async def on_a_gateway(scenario: Scenario, limits: PushGoLimits) -> None:
        clock = ManualClock()
        engine = Unhurried(SqliteSettings(directory=tmp_path), clock=clock, on_fatal=pytest.fail)
        await engine.open()
        try:
            await scenario(Gateway(engine, clock, limits))
        finally:
            await engine.close()

    return lambda scenario, limits=USUAL: asyncio.run(on_a_gateway(scenario, limits))
