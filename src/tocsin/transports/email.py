"""Mail: one attempt tells all addresses of a destination that do not have it yet, over one connection.

Where people are told how to get no more of these, each address gets a copy of its own, since such a link is good for
one; else one mail goes to all of them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.core.destination import MASK, Destination
from tocsin.core.identifiers import DeliveryId, hex32
from tocsin.transports.mail_addresses import MailAddress, Sender, find_mail_address
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.mail import mail_of, message_id
from tocsin.transports.messages.message import Message
from tocsin.transports.outbound import BODY_KEPT_BYTES
from tocsin.transports.protocol import Done, Shipment
from tocsin.transports.smtp.connections import Connections, SmtpLimits
from tocsin.transports.smtp.faults import NO_LOGIN, SmtpFault, Stage, fault_of
from tocsin.transports.smtp.progress import Letter, Progress
from tocsin.transports.smtp.sending import Sending
from tocsin.transports.unsubscribing import UNSUBSCRIBE_PATH, UnsubscribeLinks

_TOO_LARGE = 552
_UNSENT_WAIT_S = 1.0
"""When to come back after an attempt that was never made."""
_SHOWN_ADDRESSES_MAX = 20

_log = structlog.get_logger("tocsin.email")


class EmailTransport:
    """Sends events as mails.

    Args:
        connections: to the mail server; opened and closed with this transport.
        subject: of a category's events.
        links: by which people get no more mails.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        sender: Sender,
        subject: str,
        links: UnsubscribeLinks,
        clock: Clock,
        limits: SmtpLimits,
    ) -> None:
        self._connections = connections
        self._sending = Sending(connections, sender=sender, limits=limits)
        self._sender = sender
        self._subject = subject
        self._links = links
        self._clock = clock
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: OrderedDict[DeliveryId, dict[str, bool]] = OrderedDict()

    async def open(self) -> None:
        """See ``Transport``."""
        await self._connections.open()

    async def close(self) -> None:
        """See ``Transport``."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._connections.close()

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        task = asyncio.get_running_loop().create_task(self._attempt(shipment, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, shipment: Shipment, done: Done) -> None:
        destination = shipment.target.destination
        progress = Progress(self._settled.get(shipment.lease.delivery_id, {}))
        started_ms, began_s = self._clock.now_ms(), self._clock.monotonic_s()
        letters: list[Letter] = []
        writer = _Writer(shipment, self._sender, self._subject, date_ms=started_ms)
        try:
            letters = self._letters(shipment, progress)
            if letters:
                async with asyncio.timeout(destination.timeout_s):
                    await self._sending.send(letters, writer.write, progress)
        except SmtpFault as fault:
            progress.fault = fault
        except TimeoutError as error:
            progress.fault = fault_of(progress.stage, error)
        except Exception as error:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            _log.error("mail_broke", destination=destination.id.hex(), exc_info=error)
            told = f"a fault of ours: {type(error).__name__}"
            progress.fault = SmtpFault(Stage.DATA, ErrorClass.INTERNAL, told)
        failure, error_text = _failure(destination, progress)
        veil, transcript = self._connections.veil, progress.transcript
        own_id = message_id(self._sender, destination.id, hex32(shipment.lease.event.id))
        attempt = Attempt(
            started_ms=started_ms,
            duration_ms=max(0, round((self._clock.monotonic_s() - began_s) * 1000)),
            exchange=Exchange(
                request_line=self._request_line([address for letter in letters for _, address in letter.to]),
                request_headers=writer.headers,
                response_body=transcript[:BODY_KEPT_BYTES],
                response_truncated=len(transcript) > BODY_KEPT_BYTES,
            ),
            connect_ms=progress.connect_ms,
            status_code=_code(progress, failure),
            error_class=failure,
            error=None if error_text is None else veil.text(error_text),
            remote_id=own_id if progress.count(addresses_of(destination)) else None,
            shortened=writer.truncated,
        )
        done(shipment, self._outcome(shipment, progress, attempt))

    # -- what is sent -----------------------------------------------------------------------------------

    def _letters(self, shipment: Shipment, progress: Progress) -> list[Letter]:
        """Return who are to be told yet, those together who get the same mail."""
        destination = shipment.target.destination
        left: list[tuple[str, MailAddress]] = []
        for text in progress.left(addresses_of(destination)):
            address = find_mail_address(text)
            if address is None:
                progress.rule_out([text], "is no address that can be written")
            else:
                left.append((text, address))
        if self._links.makes_links:
            owner = destination.organisation_id, destination.id
            return [Letter((each,), self._links.link(*owner, each[0])) for each in left]
        # A server that takes no other addresses than ASCII is to have the mail to these.
        groups = [tuple(each for each in left if each[1].is_ascii is is_ascii) for is_ascii in (True, False)]
        return [Letter(group) for group in groups if group]

    def _request_line(self, to: Sequence[MailAddress]) -> str:
        shown = [f"RCPT TO:<{each.text}>" for each in to[:_SHOWN_ADDRESSES_MAX]]
        more = [f"and {len(to) - _SHOWN_ADDRESSES_MAX} more"] if len(to) > _SHOWN_ADDRESSES_MAX else []
        return " ".join([f"SMTP MAIL FROM:<{self._sender.address.text}>", *shown, *more])

    # -- what it comes to -------------------------------------------------------------------------------

    def _outcome(self, shipment: Shipment, progress: Progress, attempt: Attempt) -> Outcome:
        delivery_id, destination = shipment.lease.delivery_id, shipment.target.destination
        self._settled.pop(delivery_id, None)
        if attempt.error_class is None:
            self._tell_refusals(shipment, progress)
            return Delivered(attempt)
        fault = progress.fault
        if not progress.left(addresses_of(destination)):
            return Rejected(attempt)
        if fault is not None and fault.stage is Stage.MAIL and fault.code == _TOO_LARGE:
            return Rejected(attempt)
        self._remember(delivery_id, progress.settled)
        if fault is None or (fault.stage.is_about_mail and fault.code != NO_LOGIN):
            return Deferred(attempt)
        if fault.stage.is_ours:
            return Deferred(attempt, _UNSENT_WAIT_S, counted=False)
        # The server, or our account there, is of no use now. That says nothing against anybody's address.
        return Deferred(attempt, self._limits.wait_s, counted=False)

    def _remember(self, delivery_id: DeliveryId, settled: dict[str, bool]) -> None:
        """Keep in mind who need not be asked again; after a restart they get the same mail once more."""
        if settled:
            self._settled[delivery_id] = settled
        while len(self._settled) > self._limits.progress_max:
            self._settled.popitem(last=False)

    def _tell_refusals(self, shipment: Shipment, progress: Progress) -> None:
        addresses = addresses_of(shipment.target.destination)
        refused = len(addresses) - progress.count(addresses)
        if refused:
            _log.warning(
                "mail_addresses_refused",
                destination=shipment.target.destination.id.hex(),
                delivery=shipment.lease.delivery_id.hex(),
                refused=refused,
            )


class _Writer:
    """Writes the mails of one attempt, one at a time.

    Attributes:
        headers: of the first one, as they may be shown.
        truncated: whether anything of the message was cut or left out.
    """

    def __init__(self, shipment: Shipment, sender: Sender, subject: str, *, date_ms: int) -> None:
        self.headers: tuple[tuple[str, str], ...] = ()
        self.truncated = False
        self._shipment = shipment
        self._sender = sender
        self._subject = subject
        self._date_ms = date_ms
        self._message: Message | None = None

    def write(self, letter: Letter) -> bytes:
        """Return the whole of a mail."""
        shipment = self._shipment
        event = shipment.lease.event
        if self._message is None:
            self._message = compose(event, shipment.incident, shipment.note)
        written = mail_of(
            self._message,
            sender=self._sender,
            to=[address for _, address in letter.to],
            subject=self._subject,
            event_id=event.id,
            destination_id=shipment.target.destination.id,
            date_ms=self._date_ms,
            unsubscribe=letter.unsubscribe,
        )
        if not self.headers:
            self.headers = tuple((name, _masked(name, str(value))) for name, value in written.mail.items())
        self.truncated |= written.truncated
        return written.mail.as_bytes()


def addresses_of(destination: Destination) -> list[str]:
    """Return whom a destination tells by mail."""
    given = destination.address.get("to")
    return list(dict.fromkeys(text for text in given if isinstance(text, str))) if isinstance(given, list) else []


def _failure(destination: Destination, progress: Progress) -> tuple[ErrorClass | None, str | None]:
    """Return why not all that could be told have been; of a mail that is told, only who has refused it for good."""
    addresses = addresses_of(destination)
    if not progress.left(addresses):
        count = progress.count(addresses)
        if count:
            return None, None if count == len(addresses) else progress.refusals(addresses)
        return progress.refusal_class, progress.refusals(addresses)
    if progress.fault is not None:
        return progress.fault.error_class, progress.fault.error
    return ErrorClass.STATUS, progress.refusals(addresses)


def _code(progress: Progress, failure: ErrorClass | None) -> int | None:
    if failure is None:
        return progress.code
    return progress.refusal_code if progress.fault is None else progress.fault.code


def _masked(name: str, value: str) -> str:
    """Return a header as it may be shown: whoever reads an attempt is not to unsubscribe anybody by it."""
    if name != "List-Unsubscribe":
        return value
    return f"{value.partition(UNSUBSCRIBE_PATH)[0]}{UNSUBSCRIBE_PATH}{MASK}>"
