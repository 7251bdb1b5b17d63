"""The two halves of an organisation's events; a module of its own, for incidents know it as events do."""

from __future__ import annotations

from enum import StrEnum


class Environment(StrEnum):
    """Which half of an organisation's events: a key is made for one of them."""

    LIVE = "live"
    TEST = "test"
