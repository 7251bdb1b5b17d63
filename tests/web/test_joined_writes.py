"""What a connection writes at once, and what it does not hold back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tocsin.web.joined_writes import JoinedWrites


class Wire(asyncio.Transport):
    """Notes each call that would be one of the system."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def play(scene: Callable[[JoinedWrites, Wire], None]) -> Wire:
    """Play it in one turn of an event loop, and wait for the next."""
    wire = Wire()
    broken: list[object] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: broken.append(context))
        scene(JoinedWrites(wire, loop), wire)
        await asyncio.sleep(0)

    asyncio.run(run())
    assert broken == []
    return wire


def test_the_parts_of_an_answer_are_written_at_once() -> None:
    def scene(joined: JoinedWrites, wire: Wire) -> None:
        joined.write(b"head")
        joined.write(b"body")
        assert wire.written == []
        assert joined.get_write_buffer_size() == 7 + len(b"headbody")
        joined.flush()
        assert wire.written == [b"headbody"]
        assert joined.get_write_buffer_size() == 7

    assert play(scene).written == [b"headbody"]


def test_a_part_that_nothing_follows_is_written_in_the_next_turn() -> None:
    def scene(joined: JoinedWrites, wire: Wire) -> None:
        joined.write(b"head of a stream")
        assert wire.written == []

    assert play(scene).written == [b"head of a stream"]


def test_a_long_part_is_not_held() -> None:
    def scene(joined: JoinedWrites, wire: Wire) -> None:
        joined.write(b"head")
        joined.write(b"b" * 20_000)
        assert wire.written == [b"head" + b"b" * 20_000]

    assert len(play(scene).written) == 1


@pytest.mark.parametrize("gently", [True, False])
def test_closing_sends_what_is_held_and_aborting_does_not(gently: bool) -> None:
    def scene(joined: JoinedWrites, wire: Wire) -> None:
        joined.write(b"last words")
        (joined.close if gently else joined.abort)()
        assert joined.is_closing()

    assert play(scene).written == ([b"last words"] if gently else [])
