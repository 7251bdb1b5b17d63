"""What has to be done now and then: dropping what is past its time."""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from tocsin.core.errors import TocsinError
from tocsin.engine.protocol import Engine

_log = structlog.get_logger("tocsin.maintenance")


class MaintenanceLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how much at a time.

    Attributes:
        every_s: between two rounds.
        budget_ms: how long one portion may keep the writer from others.
        pause_s: between two portions of one round.
    """

    every_s: float = 60.0
    budget_ms: int = 20
    pause_s: float = 0.1


async def tend_for_ever(engine: Engine, limits: MaintenanceLimits) -> None:
    """Drop what is past its time, in small portions, for ever."""
    while True:
        await asyncio.sleep(limits.every_s)
        try:
            more = True
            while more:
                more = await engine.tend(limits.budget_ms)
                await asyncio.sleep(limits.pause_s)
        except TocsinError as error:
            _log.warning("tending_failed", error=error.detail)
