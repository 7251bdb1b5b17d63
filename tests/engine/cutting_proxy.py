"""A proxy in front of PostgreSQL that cuts a connection when a transaction was committed, before that is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

_COMMIT = b"commit\0"


class CuttingProxy:
    """Passes everything on, until it is told to cut.

    Attributes:
        dsn: of the database, through this proxy.
        cuts_left: how many of the next commits go unanswered.
    """

    def __init__(self, dsn: str) -> None:
        self._server = urlsplit(dsn)
        self.dsn = dsn
        self.cuts_left = 0

    def passed(self, data: bytes) -> bytes:
        """Return what the server is told in place of this: the same."""
        return data

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until either side ends."""
        there, back = await asyncio.open_connection(self._server.hostname, self._server.port)
        is_cut = asyncio.Event()
        ways = [
            asyncio.create_task(self._pass_on(reader, back, is_cut)),
            asyncio.create_task(self._answer(there, writer, is_cut)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, is_cut: asyncio.Event) -> None:
        while data := await reader.read(65_536):
            if self.cuts_left and data.endswith(_COMMIT):
                self.cuts_left -= 1
                is_cut.set()
            back.write(self.passed(data))
            await back.drain()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, is_cut: asyncio.Event) -> None:
        while data := await there.read(65_536):
            if is_cut.is_set():
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def cutting_proxy(dsn: str) -> AsyncIterator[CuttingProxy]:
    """Run a proxy in front of this database."""
    proxy = CuttingProxy(dsn)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(dsn)
    proxy.dsn = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
    try:
        yield proxy
    finally:
        server.close()
