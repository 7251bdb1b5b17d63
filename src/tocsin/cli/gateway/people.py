"""The people of ``tocsin demo``: an account whose Discord, Telegram and mail are fakes, and what they were shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from tocsin.cli.client.api import Api
from tocsin.fakes import Fakes
from tocsin.fakes.arrivals import Arrivals

_CHAT = 42
_BOT_TOKEN = "123456:demo"  # noqa: S105  of a bot that is none
_MAIL = "you@example.com"


class _Timed(Protocol):
    at_s: float


class People:
    """What the fakes were shown of one event after another.

    Args:
        fakes: in a thread of their own.
    """

    def __init__(self, fakes: Fakes) -> None:
        self.fakes = fakes
        self._boxes: tuple[tuple[str, Arrivals, Callable[[], Sequence[_Timed]]], ...] = (
            ("Discord", fakes.discord.arrivals, lambda: fakes.discord.messages),
            ("Telegram", fakes.telegram.arrivals, lambda: fakes.telegram.messages),
            (f"mail to {_MAIL}", fakes.smtp.arrivals, lambda: fakes.smtp.mails),
        )
        self._seen = [0] * len(self._boxes)

    def invite(self, api: Api) -> None:
        """Have the organisation's people told in all three ways.

        Raises:
            Failure: the gateway refuses.
        """
        account = {
            "discord": {"enabled": True, "webhook_url": self.fakes.discord.webhook_url()},
            "telegram": {"enabled": True, "bot_token": _BOT_TOKEN, "chat_id": _CHAT},
            "email": {"enabled": True, "to": [_MAIL]},
        }
        api.call("PUT", "/api/v1/account", account)

    def shown(self, started_s: float, timeout_s: float) -> Iterator[dict[str, Any]]:
        """Yield for each way whether and when the next message came, by the monotonic clock."""
        for place, (name, arrivals, messages) in enumerate(self._boxes):
            seen = self._seen[place]
            came = arrivals.wait_until(_more_than(seen, messages), timeout_s)
            self._seen[place] = seen + came
            arrived_ms = round((messages()[seen].at_s - started_s) * 1000, 1) if came else None
            yield {"arrived_at": name if came else None, "arrived_ms": arrived_ms, "signature": None}


def _more_than(seen: int, messages: Callable[[], Sequence[_Timed]]) -> Callable[[], bool]:
    return lambda: len(messages()) > seen
