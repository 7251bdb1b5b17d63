"""Mail servers for tests: a real one in a thread of its own, and one that talks nonsense."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import ssl
import threading
from collections import deque
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

import msgspec
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from receivers import unused_port

USER = "alerts@example.com"
PASSWORD = "pä%ss-c4nary-word"


class Arrived(msgspec.Struct, frozen=True):
    """A mail that a server took.

    Attributes:
        data: as it came, dots and all.
    """

    mail_from: str
    to: tuple[str, ...]
    data: bytes

    @property
    def mail(self) -> EmailMessage:
        """The mail, read as strictly as Python can."""
        return email.message_from_bytes(self.data, policy=email.policy.default)

    def part(self, subtype: str) -> str:
        """Return the text of a part."""
        body = self.mail.get_body((subtype,))
        assert body is not None
        text: str = body.get_content()
        return text.replace("\r\n", "\n")


class MailServer:
    """An SMTP server with STARTTLS, TLS and AUTH where they are given; use it as a context manager.

    Args:
        starttls, tls: its certificate, for either kind of TLS.
        login: takes ``USER`` and ``PASSWORD``, and nobody else.

    Attributes:
        replies: what the next of ``MAIL``, ``DATA``, or ``RCPT name@host`` are answered; at the end ``250``.
        mails: what has been taken.
        sessions: how often a connection said who it is.
        goodbyes: how often one took its leave.
    """

    def __init__(
        self,
        *,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        login: bool = False,
        utf8: bool = True,
        port: int | None = None,
    ) -> None:
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        self.replies: dict[str, deque[str]] = {}
        self.mails: list[Arrived] = []
        self.sessions = 0
        self.logins = 0
        self.goodbyes = 0
        self.port = unused_port() if port is None else port
        self._changed = threading.Condition()
        self._protocols: list[SMTP] = []
        outer = self

        class Kept(Controller):
            def factory(self) -> SMTP:
                made: SMTP = super().factory()  # type: ignore[no-untyped-call]
                outer._protocols.append(made)
                return made

        self._controller = Kept(
            self,
            hostname="127.0.0.1",
            port=self.port,
            ssl_context=tls,
            tls_context=starttls,
            require_starttls=starttls is not None,
            enable_SMTPUTF8=utf8,
            auth_required=False,
            auth_require_tls=starttls is not None,
            authenticator=self._is_known if login else None,
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, with all its connections."""
        if self._controller.server is not None:
            self._controller.stop()

    def wait_for(self, count: int, *, timeout_s: float = 15.0) -> list[Arrived]:
        """Return what was taken once it is so many mails."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.mails) >= count, timeout_s), len(self.mails)
            return list(self.mails)

    def wait_for_goodbyes(self, count: int, *, timeout_s: float = 15.0) -> None:
        """Return once so many connections took their leave."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.goodbyes >= count, timeout_s), self.goodbyes

    def say(self, asked: str, *replies: str) -> None:
        """Answer the next of these so."""
        self.replies.setdefault(asked, deque()).extend(replies)

    def hang_up(self) -> None:
        """Close every connection, as a server does to those that have nothing to say."""
        closed = threading.Event()

        def close() -> None:
            for protocol in self._protocols:
                if isinstance(protocol.transport, asyncio.WriteTransport):
                    protocol.transport.abort()
            closed.set()

        self._controller.loop.call_soon_threadsafe(close)
        assert closed.wait(10)

    # -- what aiosmtpd calls --------------------------------------------------------------------------------

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.sessions += 1
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._reply("MAIL")
        if reply.startswith("250"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = self._reply(f"RCPT {address}")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = self._reply("DATA", "250 2.0.0 queued as 4F2A")
        if reply.startswith("250"):
            assert isinstance(envelope.content, bytes)
            with self._changed:
                self.mails.append(Arrived(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content))
                self._changed.notify_all()
        return reply

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        with self._changed:
            self.goodbyes += 1
            self._changed.notify_all()
        return "221 bye"

    def _reply(self, asked: str, usual: str = "250 OK") -> str:
        waiting = self.replies.get(asked)
        return waiting.popleft() if waiting else usual

    def _is_known(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        self.logins += 1
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


HANG = b"hang"
"""Nothing is answered, and the connection stays."""
DROP = b"drop"
"""The connection is closed."""
USUAL = {
    b"greeting": b"220 here",
    b"EHLO": b"250-here\r\n250 SIZE 1000000",
    b"HELO": b"250 here",
    b"DATA": b"354 go on",
    b".": b"250 queued",
}


class RawServer:
    """Answers each command by its first word, line by line; use it as an asynchronous context manager.

    Args:
        replies: beside the usual ones; ``HANG`` and ``DROP`` among them.

    Attributes:
        once: what the next command of a word is answered in place of that.
        commands: all that it was asked.
        connections: how many were made.
    """

    def __init__(self, replies: dict[bytes, bytes] | None = None) -> None:
        self.replies = USUAL | (replies or {})
        self.once: dict[bytes, bytes] = {}
        self.commands: list[bytes] = []
        self._asked = threading.Condition()
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def wait_for(self, word: bytes, *, timeout_s: float = 15.0) -> None:
        """Return once a command of this word came; not for the thread in which the server runs."""
        with self._asked:
            assert self._asked.wait_for(lambda: any(each.startswith(word) for each in self.commands), timeout_s)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answered = await self._answer(writer, b"greeting")
            while answered and (line := await reader.readline()):
                with self._asked:
                    self.commands.append(line.strip())
                    self._asked.notify_all()
                word = line.split()[0].split(b":")[0].upper()
                answered = await self._answer(writer, word)
                if word == b"DATA" and self.replies[b"DATA"].startswith(b"354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    answered = await self._answer(writer, b".")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, writer: asyncio.StreamWriter, word: bytes) -> bool:
        reply = self.once.pop(word, None) or self.replies.get(word, b"250 OK")
        if reply == HANG:
            await asyncio.Event().wait()
        if reply == DROP:
            return False
        writer.write(reply + b"\r\n")
        await writer.drain()
        return True
