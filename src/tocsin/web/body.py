"""A request's body on its way in: bounded in size and time, and all bodies together in memory."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Scope

from tocsin.core.errors import RequestTimeout, Unavailable

BODY_IS_HERE: Final = "tocsin.body_is_here"
"""In the ASGI scope of a request that came whole: reading its body waits for nothing, and needs no timer."""


class BodyMemory:
    """What the bodies under way may take of the memory; those that come in one piece are small and not counted.

    Args:
        bytes_max: of all of them together.
    """

    def __init__(self, bytes_max: int) -> None:
        self._free_bytes = bytes_max

    def take(self, size: int) -> None:
        """Take so much.

        Raises:
            Unavailable: there is less.
        """
        if size > self._free_bytes:
            raise Unavailable("too many large bodies arrive at once", retry_after_s=1)
        self._free_bytes -= size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._free_bytes += size


class Body:
    """The body of one request.

    Attributes:
        ended: nothing more of it is to come.

    Args:
        scope: the request's; says whether the body has come whole.
        deadline_s: how long reading it may take, and discarding the rest of it.
    """

    __slots__ = ("_deadline_s", "_here", "_lost", "_memory", "_receive", "_taken", "ended")

    def __init__(self, receive: Receive, scope: Scope, *, deadline_s: float, memory: BodyMemory) -> None:
        self._receive = receive
        self._here = BODY_IS_HERE in scope
        self._deadline_s = deadline_s
        self._memory = memory
        self._taken = 0
        self._lost = False
        self.ended = False

    async def read(self, limit_bytes: int) -> bytes:
        """Return the body, or, where it is longer than the limit, as much of it as shows that.

        Raises:
            RequestTimeout: it did not come in time, or the client went away.
            Unavailable: too many bodies are under way.
        """
        if self._here:
            whole = await self._next()
            return whole if len(whole) <= limit_bytes else whole[: limit_bytes + 1]
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._gather(limit_bytes)
        except TimeoutError as error:
            self._lost = True
            raise RequestTimeout("the body took too long to arrive") from error

    async def discard(self) -> bool:
        """Read what is left of it, so that the client reads its answer; return whether the end came in time.

        Many clients send all of a body before they look for the answer. Closing on one of these resets its
        connection, and it never learns why.
        """
        if self._lost:
            return False
        try:
            async with asyncio.timeout(self._deadline_s):
                while not self.ended:
                    await self._next()
        except (TimeoutError, RequestTimeout):
            return False
        return True

    def release(self) -> None:
        """Give back the memory, once the request is answered."""
        if self._taken:
            self._memory.give_back(self._taken)
            self._taken = 0

    async def _gather(self, limit_bytes: int) -> bytes:
        gathered = bytearray()
        try:
            while not self.ended and len(gathered) <= limit_bytes:
                part = await self._next()
                self._memory.take(len(part))
                self._taken += len(part)
                gathered += part
        except BaseException:
            # At once, and not when the rest is discarded: others wait for it.
            self.release()
            raise
        return bytes(gathered[: limit_bytes + 1])

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._lost = True
            raise RequestTimeout("the client went away")
        self.ended = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part
