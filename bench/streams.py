"""Readers of live streams in a process of their own, who count what they are told and do nothing with it."""

from __future__ import annotations

import asyncio
import multiprocessing as mp
from multiprocessing.connection import Connection

import uvloop

_MESSAGE = b"\nevent: "


async def _read(address: tuple[str, int], head: bytes, seen: list[int], begun: asyncio.Barrier) -> None:
    reader, writer = await asyncio.open_connection(*address, limit=2**20)
    writer.write(head)
    await reader.readuntil(b"\nid: ")
    await begun.wait()
    while part := await reader.read(2**18):
        seen[0] += part.count(_MESSAGE)


def _run(address: tuple[str, int], head: bytes, count: int, pipe: Connection) -> None:
    async def main() -> None:
        seen = [0]
        begun = asyncio.Barrier(count + 1)
        readers = [asyncio.create_task(_read(address, head, seen, begun)) for _ in range(count)]
        await begun.wait()
        pipe.send(0)
        stopping = asyncio.Event()

        def asked() -> None:
            if pipe.recv() == "stop":
                stopping.set()
            else:
                pipe.send(seen[0])

        asyncio.get_running_loop().add_reader(pipe.fileno(), asked)
        await stopping.wait()
        for each in readers:
            each.cancel()

    uvloop.run(main())


class Readers:
    """So many readers of everything that an organisation's streams tell."""

    def __init__(self, base_url: str, key: str, count: int) -> None:
        host, _, port = base_url.removeprefix("http://").rpartition(":")
        head = f"GET /api/v1/stream HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n".encode()
        self._pipe, theirs = mp.Pipe()
        self._process = mp.Process(target=_run, args=((host, int(port)), head, count, theirs), daemon=True)
        self._process.start()
        self._pipe.recv()

    def count(self) -> int:
        """Return how many messages came, to all of them together."""
        self._pipe.send("count")
        found: int = self._pipe.recv()
        return found

    def stop(self) -> None:
        """Leave."""
        self._pipe.send("stop")
        self._process.join()
