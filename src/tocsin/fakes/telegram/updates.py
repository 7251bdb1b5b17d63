"""The updates that wait for a bot: what users wrote to it.

Source: Telegram Bot API, "getUpdates".
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

WAITING_MAX = 1_000
"""How many updates are kept; the oldest go first."""
LIMIT_MAX = 100
BOTS_MAX = 1_000
"""How many bots' progress is remembered."""


class Update(msgspec.Struct, frozen=True):
    """Something that happened to a bot.

    Attributes:
        bot: whose it is; None is every bot's, since a user of a fake addresses them all.
    """

    id: int
    bot: str | None
    message: dict[str, Any]


class Updates:
    """What waits, and how far each bot has come."""

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._waiting: deque[Update] = deque(maxlen=WAITING_MAX)
        self._confirmed: dict[str, int] = {}

    def add(self, message: dict[str, Any], bot: str | None) -> None:
        """Let a bot, or all, know of a message."""
        self._waiting.append(Update(self._next_id, bot, message))
        self._next_id += 1

    def confirm(self, bot: str, offset: int) -> None:
        """Take what is before ``offset`` as known; a negative one keeps as many from the end."""
        if offset < 0:
            waiting = self._of(bot)
            offset = waiting[max(len(waiting) + offset, 0)].id if waiting else 0
        if bot not in self._confirmed and len(self._confirmed) >= BOTS_MAX:
            del self._confirmed[next(iter(self._confirmed))]
        self._confirmed[bot] = max(offset, self._confirmed.get(bot, 0))

    def waiting(self, bot: str, limit: int = LIMIT_MAX) -> list[dict[str, Any]]:
        """Return what a bot does not know yet, as the API tells it."""
        return [{"update_id": each.id, "message": each.message} for each in self._of(bot)[:limit]]

    def _of(self, bot: str) -> list[Update]:
        known = self._confirmed.get(bot, 0)
        return [each for each in self._waiting if each.id >= known and each.bot in (None, bot)]
