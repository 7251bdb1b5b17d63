"""Pages of lists without a cursor: sent whole, portion by portion where their rows are too long to be held at once.

The engine ends a page early where its payloads would pass a bound (``Engine.search``). Where a contract has a cursor,
the client goes on from there. Where it has only an offset or a page's number, a short page would be taken for the
last one, or the next would pass over what it lacks: there the gateway itself goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from tocsin.engine.rows import Page
from tocsin.web.http import Response
from tocsin.web.streaming import StreamingResponse

T = TypeVar("T")

_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode

Read = Callable[[int, bytes | None], Awaitable[Page[T]]]
"""Returns so many rows, from the page's begin or from behind a cursor; where there are more, at least one."""


async def whole_page_response(
    read: Read[T],
    limit: int,
    *,
    shown: Callable[[T], Any],
    around: Callable[[Page[T]], tuple[bytes, bytes]],
) -> Response:
    """Return the answer with all rows of a page, in one piece where the engine has them in one.

    Args:
        shown: a row as JSON can hold it.
        around: what the answer has before and behind its rows, by the first portion of the page, which has the total.
    """
    page = await read(limit, None)
    before, behind = around(page)
    portions = _Portions(read, limit, shown=shown, first=page, before=before, behind=behind)
    if portions.is_whole:
        return Response(status=200, body=await portions.next(), headers=[_JSON])
    return StreamingResponse(status=200, headers=[_JSON], pieces=portions)


class _Portions(Generic[T]):
    """The answer in pieces, each of which holds one portion of the rows."""

    def __init__(
        self,
        read: Read[T],
        limit: int,
        *,
        shown: Callable[[T], Any],
        first: Page[T],
        before: bytes,
        behind: bytes,
    ) -> None:
        self._read = read
        self._left = limit
        self._shown = shown
        self._page: Page[T] | None = first
        self._cursor = self._cursor_behind(first)
        self._before = before
        self._behind = behind

    @property
    def is_whole(self) -> bool:
        """Whether all that is left stands in the portion that was read."""
        return self._cursor is None

    def begin(self, hurry: Callable[[float], None]) -> None:
        """Take note of nothing: the answer has an end, and who does not read it loses the connection."""

    async def next(self) -> bytes:
        """Return the next portion; a fault cuts the answer short, so that nobody takes it for all."""
        page, self._page = self._page, None
        if page is None:
            if self._cursor is None:
                return b""
            # Only now, when the piece before is on its way: no two are held at once.
            page = await self._read(self._left, self._cursor)
        self._cursor = self._cursor_behind(page)
        self._left -= len(page.rows)
        rows = b",".join(_encode(self._shown(row)) for row in page.rows)
        before = self._before if rows or self._before != b"," else b""
        self._before = b","
        return before + rows + (self._behind if self._cursor is None else b"")

    def _cursor_behind(self, page: Page[T]) -> bytes | None:
        return page.next_cursor if len(page.rows) < self._left else None

    def shut_down(self) -> None:
        """Go on to the end: requests under way have their time."""

    def lost(self) -> None:
        """Read no more."""
        self.close()

    def close(self) -> None:
        """Let go of what was read."""
        self._page = self._cursor = None
