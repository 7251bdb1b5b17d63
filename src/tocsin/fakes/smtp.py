"""A fake mail server: takes every mail, and keeps it, unless a script or a missing login says otherwise.

The script counts mails: each MAIL FROM takes its next answer. One for a single recipient waits until that one comes,
and holds up none of the answers behind it.

Sources: RFC 5321, sections 4.2 and 4.3; RFC 3463 for the enhanced codes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

import msgspec
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tocsin.core.clock import Clock
from tocsin.fakes.arrivals import KEPT_MAX, Arrivals, Received
from tocsin.fakes.clock import MachineClock
from tocsin.fakes.ports import LOOPBACK, listening_socket
from tocsin.fakes.script import NATURAL, Answer, BadScript, Script

MAIL_BYTES_MAX = 10_000_000
_OK = "250 OK"
_USUAL = {
    421: "4.3.2 Service shutting down",
    450: "4.2.1 Mailbox busy",
    451: "4.7.1 Greylisted, try again later",
    452: "4.2.2 Mailbox full",
    530: "5.7.0 Authentication required",
    535: "5.7.8 Authentication credentials invalid",
    550: "5.1.1 No such user here",
    552: "5.3.4 Message too big for system",
    554: "5.7.1 Delivery not authorized",
}


class Mail(msgspec.Struct, kw_only=True):
    """A mail that was taken.

    Attributes:
        id: counts the mails.
        at_s: when all of it had come, on the monotonic clock.
        sender, recipients: of the envelope.
        message: parsed.
        secure: whether it came over TLS.
        user: who had logged in.
    """

    id: int
    at_s: float
    arrived_ms: int
    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    message: Any
    secure: bool = False
    user: str | None = None

    @property
    def subject(self) -> str:
        """Its subject, decoded."""
        return self.header("Subject")

    def header(self, name: str) -> str:
        """Return the values of a header, decoded, a line each; one that cannot be read as it was sent."""
        try:
            values = [str(value) for value in self.message.get_all(name, ())]
        except (ValueError, LookupError, AttributeError, TypeError):
            # Python's own parser trips over some headers that mean harm.
            values = [value for key, value in self.message.raw_items() if key.lower() == name.lower()]
        return "\n".join(value.encode("utf-8", "replace").decode() for value in values)

    @property
    def text(self) -> str | None:
        """Its text part."""
        return _content(self.message, "plain")

    @property
    def html(self) -> str | None:
        """Its HTML part."""
        return _content(self.message, "html")


class Smtp:
    """A fake mail server; use it as an asynchronous context manager.

    Args:
        port: 0 picks a free one.
        tls: a server's context, with which it offers STARTTLS.
        implicit_tls: it speaks TLS from the first byte instead.
        login: user and password, without which it takes no mail.

    Attributes:
        arrivals: a request for each MAIL FROM, and waiting for them.
    """

    name = "smtp"

    def __init__(
        self,
        *,
        port: int = 0,
        clock: Clock | None = None,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.arrivals = Arrivals()
        self.scripted = Script()
        self.is_listening = False
        self._clock: Clock = MachineClock() if clock is None else clock
        self._port = port
        self._tls = tls
        self._implicit_tls = implicit_tls
        self._login = login
        self._mails: deque[Mail] = deque(maxlen=KEPT_MAX)
        self._taken = 0
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def url(self) -> str:
        """What ``TOCSIN_SMTP_URL`` is to be, without user and password."""
        scheme = "smtp" if self._tls is None else "smtps" if self._implicit_tls else "smtp+starttls"
        return f"{scheme}://{LOOPBACK}:{self._port}"

    @property
    def mails(self) -> Sequence[Mail]:
        """The mails that were taken, oldest first."""
        return list(self._mails)

    @property
    def requests(self) -> Sequence[Received]:
        """A request for each MAIL FROM, in order; its status is what the mail came to."""
        return self.arrivals.requests

    def script(self, *answers: Answer) -> None:
        """Set what the next mails come to, one each, behind what is scripted already."""
        self.scripted.add(answers)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, which is looked at after everything that happens here."""
        await self.arrivals.until(condition)

    async def leave(self) -> None:
        """Cut all connections and refuse further ones."""
        self.is_listening = False
        if self._server is not None:
            self._server.close()
            self._server = None
        cut_off = list(self._connections)
        for connection in cut_off:
            connection.cut()
        for connection in cut_off:
            await connection.gone.wait()

    async def come_back(self) -> None:
        """Listen, always on the same port.

        Raises:
            OSError: the port is not to be had.
        """
        bound = listening_socket(self._port)
        self._port = bound.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=bound, ssl=self._tls if self._implicit_tls else None
        )
        self.is_listening = True

    def clear(self) -> None:
        """Forget the script and all that was kept."""
        self.scripted.clear()
        self._mails.clear()
        self.arrivals.clear()

    def do(self, order: dict[str, Any]) -> None:
        """Do what only this kind of fake can.

        Raises:
            BadScript: it cannot.
        """
        raise BadScript(f"{self.name} does nothing by itself: {', '.join(order)}")

    # -- what aiosmtpd calls ----------------------------------------------------------------------------------

    async def handle_MAIL(  # noqa: N802  the names aiosmtpd looks for
        self, server: _Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begin a mail."""
        server.answer = self.scripted.next_for(None)
        server.received = Received(at_s=self._clock.monotonic_s(), method="MAIL", target=address)
        self.arrivals.add(server.received)
        if server.answer.delay_s:
            await asyncio.sleep(server.answer.delay_s)
        if server.answer.down:
            return server.cut()
        if self._login is not None and not session.authenticated:
            return self._told(server, 530, _USUAL[530])
        if server.answer.refuses and (server.answer.stage == "mail" or server.answer.status == 421):
            return self._refuse(server, server.answer)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return _OK

    async def handle_RCPT(  # noqa: N802
        self, server: _Connection, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if server.answer.refuses and server.answer.stage == "rcpt":
            return self._refuse(server, server.answer)
        meant = self.scripted.next_for(address)
        if meant.delay_s:
            await asyncio.sleep(meant.delay_s)
        if meant.down:
            return server.cut()
        if meant.refuses:
            return self._refuse(server, meant)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return _OK

    async def handle_DATA(self, server: _Connection, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail, or not."""
        if server.answer.refuses and server.answer.stage == "data":
            return self._refuse(server, server.answer)
        raw = envelope.content
        assert isinstance(raw, bytes)
        self._taken += 1
        mail = Mail(
            id=self._taken,
            at_s=self._clock.monotonic_s(),
            arrived_ms=self._clock.now_ms(),
            sender=envelope.mail_from or "",
            recipients=tuple(envelope.rcpt_tos),
            raw=raw,
            message=message_from_bytes(raw, policy=policy.default),
            secure=self._implicit_tls or session.ssl is not None,
            user=server.user,
        )
        self._mails.append(mail)
        server.answer = NATURAL
        return self._told(server, 250, f"2.0.0 OK: queued as {mail.id}")

    def _refuse(self, server: _Connection, answer: Answer) -> str:
        status = answer.status or 451
        said = self._told(server, status, answer.message or _USUAL.get(status, "scripted"))
        if status == 421:
            # The last word on this connection, once it has been written.
            asyncio.get_running_loop().call_soon(server.say_goodbye)
        return said

    def _told(self, server: _Connection, status: int, text: str) -> str:
        server.received.status = status
        self.arrivals.changed()
        return f"{status} {text}"

    def _connection(self) -> _Connection:
        return _Connection(
            self,
            self._connections,
            hostname="localhost",
            ident="fake",
            data_size_limit=MAIL_BYTES_MAX,
            enable_SMTPUTF8=True,
            tls_context=None if self._implicit_tls else self._tls,
            auth_require_tls=self._tls is not None and not self._implicit_tls,
            auth_exclude_mechanism=() if self._login is not None else ("LOGIN", "PLAIN"),
            authenticator=self._authenticated,
            loop=asyncio.get_running_loop(),
        )

    def _authenticated(
        self, server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        assert isinstance(server, _Connection)
        assert isinstance(given, LoginPassword)
        right = self._login == (given.login.decode("utf-8", "replace"), given.password.decode("utf-8", "replace"))
        server.user = given.login.decode("utf-8", "replace") if right else None
        return AuthResult(success=right, handled=False)


class _Connection(SMTP):
    """A connection to the server.

    Attributes:
        answer: what the script says of the mail that is under way.
        received: the record of it.
        user: who has logged in.
        gone: set when it has ended.
    """

    def __init__(self, handler: Smtp, open_ones: set[_Connection], **settings: Any) -> None:
        super().__init__(handler, **settings)
        self.answer = NATURAL
        self.received = Received(at_s=0.0, method="MAIL", target="")
        self.user: str | None = None
        self.gone = asyncio.Event()
        self._open_ones = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._open_ones.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_ones.discard(self)
        self.gone.set()
        super().connection_lost(error)

    def cut(self) -> str:
        """End the connection at once; return what nobody will read."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        return _OK

    def say_goodbye(self) -> None:
        """End the connection once what was written is sent."""
        if self.transport is not None:
            self.transport.close()


def _content(message: EmailMessage, kind: str) -> str | None:
    """Return the first part of a kind, decoded; None where there is none."""
    part = message.get_body((kind,))
    if part is None:
        return None
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, UnicodeError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
