"""All fakes together, with their page; on an event loop of the caller's, or in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import TracebackType
from typing import Self

import msgspec

from tocsin.core.clock import Clock
from tocsin.fakes.discord import Discord, Rate
from tocsin.fakes.page import Page
from tocsin.fakes.smtp import Smtp
from tocsin.fakes.telegram import Telegram

_START_S = 30.0
_STOP_S = 10.0


class Ports(msgspec.Struct, frozen=True):
    """Where each listens; 0 is a free port."""

    page: int = 0
    discord: int = 0
    telegram: int = 0
    smtp: int = 0


class Fakes:
    """Discord, Telegram, a mail server and the page; use it as an asynchronous context manager.

    Args:
        clock: of the times that they tell and the windows that they keep.
        rate: what each webhook of Discord takes.

    Raises:
        OSError: on entering, a port is not to be had.
    """

    def __init__(self, ports: Ports | None = None, *, clock: Clock | None = None, rate: Rate | None = None) -> None:
        ports = ports or Ports()
        self.discord = Discord(port=ports.discord, clock=clock, rate=rate)
        self.telegram = Telegram(port=ports.telegram, clock=clock)
        self.smtp = Smtp(port=ports.smtp, clock=clock)
        self.page = Page(self.discord, self.telegram, self.smtp, port=ports.page)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for each in (self.discord, self.telegram, self.smtp, self.page):
                await stack.enter_async_context(each)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def settings(self) -> dict[str, str]:
        """Return the variables that make a gateway of this machine use the fakes."""
        return {
            "TOCSIN_DISCORD_API_BASE": self.discord.api_base,
            "TOCSIN_TELEGRAM_API_BASE": self.telegram.api_base,
            "TOCSIN_SMTP_URL": self.smtp.url,
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
        }


class Running:
    """Fakes in a thread of their own.

    Attributes:
        fakes: what may be read from other threads; to change them, use ``call``.
    """

    def __init__(self, fakes: Fakes, loop: asyncio.AbstractEventLoop) -> None:
        self.fakes = fakes
        self._loop = loop

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the fakes' event loop, such as one that sets a script; return when it has."""

        async def run() -> None:
            function()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(_START_S)


@contextmanager
def running(fakes: Fakes | None = None) -> Iterator[Running]:
    """Run fakes, by default on free ports, in a thread until the block ends.

    Raises:
        OSError: a port is not to be had.
    """
    started: list[Running | OSError] = []
    ready = threading.Event()
    ending: list[asyncio.Event] = []

    async def main() -> None:
        try:
            async with fakes or Fakes() as opened:
                ending.append(asyncio.Event())
                started.append(Running(opened, asyncio.get_running_loop()))
                ready.set()
                await ending[0].wait()
        except OSError as error:
            started.append(error)
            ready.set()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="fakes", daemon=True)
    thread.start()
    assert ready.wait(_START_S), "the fakes did not start"
    first = started[0]
    if isinstance(first, OSError):
        raise first
    loop = first._loop  # noqa: SLF001  of this module
    try:
        yield first
    finally:
        loop.call_soon_threadsafe(ending[0].set)
        thread.join(_STOP_S)
