"""Connections to the mail server: a bounded number, kept for a while, and made anew when the server has left."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiosmtplib
import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import ErrorClass
from tocsin.transports.conversation import Veil
from tocsin.transports.smtp.faults import SmtpFault, Stage, fault_of
from tocsin.transports.smtp.server import Security, SmtpServer

_NAME_S = 2.0
_NO_NAME = "[127.0.0.1]"
"""What a client says that has no name of its own. Source: RFC 5321, section 4.1.3."""


class SmtpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How the mail server is used.

    Attributes:
        connections_max: open at once, idle ones included.
        idle_s: how long a connection is kept without work; 0 keeps none.
        mails_max: through one connection; many servers close it after a hundred.
        connect_s: until the server takes mail: connection, greeting, TLS and login together.
        check_s: how long a kept connection may take to show that it is still one.
        wait_s: when to come back to a server that cannot be used.
        login_rest_s: how long nobody logs in after a login was refused: an account is soon locked.
        progress_max: deliveries of which it is remembered who has the mail already, while others refuse it for now.
    """

    connections_max: int = 8
    idle_s: float = 30.0
    mails_max: int = 100
    connect_s: float = 10.0
    check_s: float = 3.0
    wait_s: float = 60.0
    login_rest_s: float = 60.0
    progress_max: int = 10_000


class Connection:
    """A connection by which mail can be sent.

    Attributes:
        client: logged in, and secured as wanted.
        kept: whether it was used before.
        connect_ms: how long it took to make; None for a kept one.
    """

    def __init__(self, client: aiosmtplib.SMTP, connect_ms: int) -> None:
        self.client = client
        self.kept = False
        self.connect_ms: int | None = connect_ms
        self.mails_sent = 0
        self._expiry: asyncio.TimerHandle | None = None

    def rest(self, expiry: asyncio.TimerHandle) -> None:
        """Note when it is given up for lack of work."""
        self._expiry = expiry

    def wake(self) -> None:
        """Take it up again."""
        self.kept, self.connect_ms = True, None
        if self._expiry is not None:
            self._expiry.cancel()

    def close(self) -> None:
        """Say goodbye, without waiting for an answer, and close it."""
        if self._expiry is not None:
            self._expiry.cancel()
        protocol = self.client.protocol
        if protocol is not None and protocol.is_connected:
            with suppress(aiosmtplib.SMTPException, RuntimeError):
                protocol.write(b"QUIT\r\n")
        _cut(self.client)


class Connections:
    """The connections to one mail server.

    Args:
        tls: what certificates are checked with; None is what the system trusts.
    """

    def __init__(
        self, server: SmtpServer, *, limits: SmtpLimits, clock: Clock, tls: ssl.SSLContext | None = None
    ) -> None:
        self.veil = Veil(server.password)
        self._server = server
        self._limits = limits
        self._clock = clock
        self._tls = tls
        self._places = asyncio.Semaphore(limits.connections_max)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._name = _NO_NAME
        self._refused: tuple[float, SmtpFault] | None = None

    async def open(self) -> None:
        """Learn our own name, and whom to trust."""
        if self._tls is None and self._server.security is not Security.PLAIN:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        with suppress(TimeoutError, OSError):
            async with asyncio.timeout(_NAME_S):
                name = await asyncio.to_thread(socket.getfqdn)
            if "." in name and name.isascii() and name.isprintable() and " " not in name:
                self._name = name

    def close(self) -> None:
        """Close all of them."""
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()

    @property
    def idle(self) -> int:
        """How many are kept without work."""
        return len(self._idle)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Have the right to one connection."""
        async with self._places:
            yield

    async def take(self, *, fresh: bool = False) -> Connection:
        """Return a connection, a kept one where there is one.

        Args:
            fresh: no kept one will do.

        Raises:
            SmtpFault: none can be made.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.client.is_connected:
                connection.wake()
                self._busy.add(connection)
                return connection
            connection.close()
        self._check_login()
        connection = await self._connect()
        self._busy.add(connection)
        return connection

    def give_back(self, connection: Connection, *, sound: bool) -> None:
        """Keep a connection for the next mail, or close it.

        Args:
            sound: the server waits for the next mail on it.
        """
        self._busy.discard(connection)
        limits = self._limits
        if not sound or not connection.client.is_connected or connection.mails_sent >= limits.mails_max:
            connection.close()
        elif limits.idle_s:
            self._idle.append(connection)
            connection.rest(asyncio.get_running_loop().call_later(limits.idle_s, self._expire, connection))
        else:
            connection.close()

    def _expire(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            connection.close()

    def _check_login(self) -> None:
        if self._refused is None:
            return
        until_s, fault = self._refused
        if self._clock.monotonic_s() < until_s:
            raise fault
        self._refused = None

    async def _connect(self) -> Connection:
        server, began_s = self._server, self._clock.monotonic_s()
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=self._name,
            use_tls=server.security is Security.IMPLICIT,
            start_tls=False,
            tls_context=self._tls,
            timeout=None,
        )
        stage = Stage.CONNECT
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await client.connect()
                stage = Stage.EHLO
                await _greet(client)
                if server.security is Security.STARTTLS:
                    stage = Stage.STARTTLS
                    await self._secure(client)
                if server.user is not None:
                    stage = Stage.AUTH
                    await self._log_in(client, server.user)
        except BaseException as error:
            _cut(client)
            if isinstance(error, Exception):
                raise self._fault(stage, error) from None
            raise
        return Connection(client, round((self._clock.monotonic_s() - began_s) * 1000))

    async def _secure(self, client: aiosmtplib.SMTP) -> None:
        if not client.supports_extension("starttls"):
            raise SmtpFault(Stage.STARTTLS, ErrorClass.TLS, "the mail server does not offer STARTTLS")
        await client.starttls()
        # What it said before might have come from somebody else.
        await _greet(client)

    async def _log_in(self, client: aiosmtplib.SMTP, user: str) -> None:
        if not client.supported_auth_methods:
            raise SmtpFault(Stage.AUTH, ErrorClass.PROTOCOL, "the mail server offers no login that is known here")
        await client.login(user, self._server.password)

    def _fault(self, stage: Stage, error: Exception) -> SmtpFault:
        if isinstance(error, aiosmtplib.SMTPConnectResponseError):
            stage = Stage.GREETING
        fault = error if isinstance(error, SmtpFault) else fault_of(stage, error)
        if stage is Stage.AUTH and fault.code is not None and fault.code >= 500:
            self._refused = self._clock.monotonic_s() + self._limits.login_rest_s, fault
        return fault


def _cut(client: aiosmtplib.SMTP) -> None:
    """Close a connection now: closed in order, it would stay open until the server reads, or says goodbye in TLS."""
    transport: Any = client.transport
    if transport is not None:
        transport.abort()
    client.close()


async def _greet(client: aiosmtplib.SMTP) -> None:
    """Say who we are, in the old way to a server that does not know the new one."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()
