"""What a store is, and why it cannot be opened."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class EngineRefused(Exception):
    """The store cannot be opened; the text says why and what to do."""


class Durability(StrEnum):
    """What a returned write has survived."""

    FSYNC = "fsync"
    REPLICATED = "replicated"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is and promises."""

    engine: str
    version: str
    durability: Durability
