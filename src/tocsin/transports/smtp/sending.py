"""Handing mails to the server: as much as it takes of them, and what it says of the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiosmtplib

from tocsin.transports.mail_addresses import MailAddress, Sender
from tocsin.transports.smtp.connections import Connection, Connections, SmtpLimits
from tocsin.transports.smtp.faults import CLOSING, NO_LOGIN, SmtpFault, Stage, fault_of
from tocsin.transports.smtp.progress import Letter, Progress

_REFUSALS_FROM = 400
_EXTENSION = "smtputf8"

Write = Callable[[Letter], bytes]
"""Writes the whole of a mail; called in a thread, for one mail of all at a time."""


class Sending:
    """Sends mails over connections that are kept."""

    def __init__(self, connections: Connections, *, sender: Sender, limits: SmtpLimits) -> None:
        self._connections = connections
        self._sender = sender
        self._limits = limits
        self._pen = asyncio.Lock()

    async def send(self, letters: Sequence[Letter], write: Write, progress: Progress) -> None:
        """Send these one after another over one connection; ``progress`` tells what came of each address.

        A mail is written once it can be sent, and is gone before the next one is: an event for many addresses would
        else fill the memory and keep everybody waiting.

        Raises:
            SmtpFault: the conversation broke off; what was noted until then stands.
        """
        async with self._connections.place():
            progress.stage = Stage.CONNECT
            connection = await self._connections.take()
            progress.connect_ms = connection.connect_ms
            sound = False
            try:
                for letter in letters:
                    if not letter.is_ascii and not connection.client.supports_extension(_EXTENSION):
                        told = "the mail server takes no address beyond ASCII (SMTPUTF8)"
                        progress.rule_out([text for text, _ in letter.to], told)
                        continue
                    data = await self._written(letter, write, progress)
                    if not await self._has_begun(connection, letter, data, progress):
                        self._connections.give_back(connection, sound=False)
                        progress.stage = Stage.CONNECT
                        connection = await self._connections.take(fresh=True)
                        progress.connect_ms = connection.connect_ms
                        await self._begin(connection, letter, data, progress)
                    await self._hand_over(connection, letter, data, progress)
                sound = True
            finally:
                self._connections.give_back(connection, sound=sound)

    async def _written(self, letter: Letter, write: Write, progress: Progress) -> bytes:
        progress.stage = Stage.WRITING
        async with self._pen:
            return await asyncio.to_thread(write, letter)

    async def _has_begun(self, connection: Connection, letter: Letter, data: bytes, progress: Progress) -> bool:
        """Begin a mail; return False where a connection that was used before proves to be none any more."""
        if not connection.kept and not connection.mails_sent:
            await self._begin(connection, letter, data, progress)
            return True
        try:
            async with asyncio.timeout(self._limits.check_s):
                await self._begin(connection, letter, data, progress)
        except TimeoutError:
            return False
        except SmtpFault as fault:
            if fault.broke_off:
                return False
            raise
        return True

    async def _begin(self, connection: Connection, letter: Letter, data: bytes, progress: Progress) -> None:
        """Say who the mail is from.

        Raises:
            SmtpFault: the server does not want to know.
        """
        progress.stage = Stage.MAIL
        options = [] if letter.is_ascii else ["SMTPUTF8"]
        if connection.client.supports_extension("size"):
            options.append(f"SIZE={len(data)}")
        try:
            reply = await connection.client.mail(
                self._sender.address.text, options=options, encoding=_encoding(letter)
            )
        except aiosmtplib.SMTPResponseException as error:
            self._note(progress, "MAIL FROM", error)
            raise fault_of(Stage.MAIL, error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise fault_of(Stage.MAIL, error) from None
        self._note(progress, "MAIL FROM", reply)

    async def _hand_over(self, connection: Connection, letter: Letter, data: bytes, progress: Progress) -> None:
        """Name who gets the mail, and send it to those whom the server takes.

        Raises:
            SmtpFault: the conversation cannot go on.
        """
        client = connection.client
        try:
            taken = [
                text for text, address in letter.to if await self._is_taken(client, text, address, letter, progress)
            ]
            if not taken:
                await client.rset()
                return
            await self._send_data(client, data, taken, progress)
            connection.mails_sent += 1
        except (aiosmtplib.SMTPException, OSError) as error:
            raise fault_of(progress.stage, error) from None

    async def _is_taken(
        self, client: aiosmtplib.SMTP, text: str, address: MailAddress, letter: Letter, progress: Progress
    ) -> bool:
        progress.stage = Stage.RCPT
        try:
            reply = await client.rcpt(address.text, encoding=_encoding(letter))
        except aiosmtplib.SMTPResponseException as error:
            self._note(progress, f"RCPT TO:<{address.text}>", error)
            if error.code in (CLOSING, NO_LOGIN) or error.code < _REFUSALS_FROM:
                raise
            progress.refuse([text], error.code, self._connections.veil.text(error.message))
            return False
        self._note(progress, f"RCPT TO:<{address.text}>", reply)
        return True

    async def _send_data(
        self, client: aiosmtplib.SMTP, data: bytes, taken: Sequence[str], progress: Progress
    ) -> None:
        progress.stage = Stage.DATA
        try:
            reply = await client.data(data)
        except aiosmtplib.SMTPResponseException as error:
            self._note(progress, "DATA", error)
            if error.code == CLOSING or error.code < _REFUSALS_FROM:
                raise
            progress.refuse(taken, error.code, self._connections.veil.text(error.message))
            await client.rset()
            return
        self._note(progress, "DATA", reply)
        progress.accept(taken)

    def _note(
        self, progress: Progress, asked: str, reply: aiosmtplib.SMTPResponse | aiosmtplib.SMTPResponseException
    ) -> None:
        progress.note(asked, reply.code, self._connections.veil.text(reply.message))


def _encoding(letter: Letter) -> str:
    return "ascii" if letter.is_ascii else "utf-8"
