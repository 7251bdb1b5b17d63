"""One reader's stream: what waits for it, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Protocol

from tocsin.core.stream import Backlog, Gap, StreamFilter, Told
from tocsin.pipeline.live.happening import Render


class End(StrEnum):
    """Why a stream ended."""

    SLOW_READER = "slow_reader"
    """More waited for the reader than is kept for one."""
    SHUTDOWN = "shutdown"
    KEY_REVOKED = "key_revoked"
    UNAVAILABLE = "unavailable"
    """The store could not be read."""
    BROKEN = "internal_error"
    READER_LEFT = "reader_left"


_NOTHING_MORE = frozenset({End.SLOW_READER, End.KEY_REVOKED, End.READER_LEFT, End.BROKEN})
"""Ends at which what waits is not told any more."""


class Source(Protocol):
    """Who reads the history for streams."""

    async def catch_up(self, stream: Stream, *, timeout_s: float) -> list[Told]:
        """Return what comes next for a stream that begins in the past; nothing once it is told of what happens.

        Nothing, too, when so much time has passed; it has come further then.
        """
        ...

    def position_of(self, stream: Stream) -> int:
        """Return the position up to which a stream was told everything."""
        ...

    def shown(self, stream: Stream, position: int) -> str:
        """Return a position as the reader of a stream sees it."""
        ...

    def note_told(self, count: int) -> None:
        """Count messages that a reader took."""
        ...

    def note_ended(self, stream: Stream, why: End) -> None:
        """Count a stream that ended."""
        ...


class Stream:
    """What one reader is told.

    Attributes:
        wanted: what of.
        render: how it is written.
        permitted: returns whether the reader may still listen.
        begins: the position behind which it begins.
        gap: what is missing before that.
        after: the position up to which it was told everything when it ``joined``, or so far.
        joined: is told of what happens, as it happens.
        ended: why nothing more is told; None while it goes on.
        on_end: called once it has ended, and something may still have to be written.
    """

    def __init__(
        self,
        source: Source,
        backlog: Backlog,
        *,
        wanted: StreamFilter,
        render: Render,
        permitted: Callable[[], bool],
    ) -> None:
        self._source = source
        self._backlog = backlog
        self._stirred = asyncio.Event()
        self.wanted = wanted
        self.render = render
        self.permitted = permitted
        self.begins = 0
        self.gap: Gap | None = None
        self.after = 0
        self.joined = False
        self.ended: End | None = None
        self.on_end: Callable[[], None] | None = None

    def offer(self, told: Told) -> None:
        """Let a message wait for the reader; without room for it the stream ends."""
        if self.ended is not None:
            return
        if self._backlog.put(told):
            self._stirred.set()
        else:
            self.end(End.SLOW_READER)

    def end(self, why: End) -> None:
        """End it; only the first reason counts."""
        if self.ended is not None:
            return
        self.ended = why
        if why in _NOTHING_MORE:
            self._backlog.clear()
        self._stirred.set()
        self._source.note_ended(self, why)
        if self.on_end is not None:
            self.on_end()

    async def next(self, *, bytes_max: int, timeout_s: float) -> list[Told]:
        """Return what is told next, or nothing: after ``timeout_s``, or because it has ended.

        Args:
            bytes_max: of messages at once, but for a single one that is longer.

        Raises:
            Unavailable: the history could not be read.
        """
        told = await self._next(bytes_max, timeout_s)
        self._source.note_told(len(told))
        return told

    async def _next(self, bytes_max: int, timeout_s: float) -> list[Told]:
        if not self.joined and self.ended is None:
            past = await self._source.catch_up(self, timeout_s=timeout_s)
            if past and self.ended not in _NOTHING_MORE:
                return past
            if not self.joined:
                return []
        if not self._backlog and self.ended is None:
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._stirred.wait()
        return self._backlog.take(bytes_max)

    def position(self) -> int:
        """Return the position up to which the reader was told everything, provided that nothing waits for it."""
        return self._source.position_of(self)

    def shown(self, position: int) -> str:
        """Return a position as the reader sees it."""
        return self._source.shown(self, position)
