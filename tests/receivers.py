"""Receivers for tests: real HTTP servers on loopback that record what they get and answer as they are told.

A receiver lives on the test's own event loop, while the client under test has a thread of its own; so a receiver may
hang, drip or talk nonsense without anything being simulated.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client, Reply, Request

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
"""The allow-list without which the guard refuses every receiver of a test."""

_HEADER_BYTES_MAX = 64 * 1024


class Received(msgspec.Struct, frozen=True):
    """A request as it arrived.

    Attributes:
        target: path and query.
        headers: in order, names as sent.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None; case does not count."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


class Answer(msgspec.Struct, frozen=True):
    """An orderly answer; ``Content-Length`` is added."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


OK = Answer()
Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""Takes a connection over once a request has been read; the connection is cut when it returns."""


class Receiver:
    """An HTTP/1.1 server with kept connections; use it as an asynchronous context manager.

    Args:
        answer: what every request gets that ``answers`` holds nothing for.
        host: the loopback address to listen at.
        tls: serves https when given.

    Attributes:
        answers: what the next requests get, one each.
        requests: what has arrived whole, in order.
        connections: how many were accepted.
    """

    def __init__(
        self, answer: Answer | Behaviour = OK, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.answers: deque[Answer | Behaviour] = deque()
        self.requests: list[Received] = []
        self.connections = 0
        self.host = host
        self._answer = answer
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=self._tls, limit=_HEADER_BYTES_MAX)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def url(self, target: str = "/hook", *, host: str | None = None) -> str:
        """Return a URL that leads here."""
        shown = host if host is not None else f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{shown}:{self.port}{target}"

    async def wait_for(self, count: int) -> list[Received]:
        """Return the requests once there are that many."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection is to be kept."""
        received = await _read(reader)
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        answer = self.answers.popleft() if self.answers else self._answer
        if not isinstance(answer, Answer):
            await answer(writer)
            return False
        writer.write(_written(answer))
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Received:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    method, target, _ = lines[0].split(" ")
    pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
    length = next((int(value) for name, value in pairs if name.lower() == "content-length"), 0)
    return Received(method, target, pairs, await reader.readexactly(length))


def _written(answer: Answer) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} Told"]
    lines += [f"{name}: {value}" for name, value in answer.headers]
    if answer.status != 204:
        lines.append(f"Content-Length: {len(answer.body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + answer.body


async def hang(_: asyncio.StreamWriter) -> None:
    """Never answer, and never close."""
    await asyncio.get_running_loop().create_future()


async def exchange(client: Client, request: Request) -> Reply:
    """Send a request and return its reply."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    client.send(request, answer.set_result)
    return await answer


Scenario = Callable[[Client, Receiver], Awaitable[None]]


def run(scenario: Scenario, client: Client | None = None, receiver: Receiver | None = None) -> None:
    """Run a scenario with an open client, by default one that may reach loopback, and an open receiver."""

    async def main() -> None:
        used = client if client is not None else Client(AddressPolicy(LOOPBACK))
        async with receiver if receiver is not None else Receiver() as opened:
            await used.open()
            try:
                async with asyncio.timeout(30):
                    await scenario(used, opened)
            finally:
                await used.close()

    asyncio.run(main())


def post(url: str, body: bytes = b"{}", *, timeout_s: float = 5.0) -> Request:
    """Return a plain JSON POST."""
    return Request("POST", url, (("Content-Type", "application/json"),), body, timeout_s)


def unused_port() -> int:
    """Return a loopback port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def self_signed(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """Return a server's TLS context for ``name``, and the file with the certificate that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_file, certificate_file = folder / f"{name}.key", folder / f"{name}.pem"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, str(certificate_file)
