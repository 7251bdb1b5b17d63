"""What one attempt to tell a destination by mail has come to: who has it, who refuses it, and what was said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.transports.mail_addresses import MailAddress
from tocsin.transports.messages.cutting import cut
from tocsin.transports.smtp.faults import SmtpFault, Stage, shown_reply

PERMANENT = 500
"""From here on a reply is a no for good. Source: RFC 5321, section 4.2.1."""
_ERROR_UNITS_MAX = 500


class Letter(msgspec.Struct, frozen=True):
    """Who gets a mail that is yet to be written.

    Attributes:
        to: each address as the destination has it, and as it is written.
        unsubscribe: where its one recipient gets no more of these.
    """

    to: tuple[tuple[str, MailAddress], ...]
    unsubscribe: str | None = None

    @property
    def is_ascii(self) -> bool:
        """Whether any mail server takes it; else it wants SMTPUTF8."""
        return all(address.is_ascii for _, address in self.to)


class Progress:
    """How far an attempt has come.

    Args:
        settled: the addresses that need not be asked again, from this delivery's earlier attempts: True has it, False
            refuses it for good.

    Attributes:
        fault: why the attempt broke off; None where it did not.
        code: of the last reply.
        refusal_code: of the last reply that said no to an address.
    """

    def __init__(self, settled: dict[str, bool]) -> None:
        self.settled = dict(settled)
        self.stage = Stage.QUEUE
        self.fault: SmtpFault | None = None
        self.code: int | None = None
        self.refusal_code: int | None = None
        self.connect_ms: int | None = None
        self._said: dict[str, str] = {}
        self._lines: list[str] = []

    def left(self, addresses: Sequence[str]) -> list[str]:
        """Return those who are to be told yet."""
        return [text for text in addresses if text not in self.settled]

    def count(self, addresses: Sequence[str]) -> int:
        """Return how many of these have it."""
        return sum(bool(self.settled.get(text)) for text in addresses)

    def note(self, asked: str, code: int, text: str) -> None:
        """Write down a reply."""
        self.code = code
        self._lines.append(f"{asked}: {shown_reply(code, text)}")

    def accept(self, addresses: Sequence[str]) -> None:
        """Note who has it."""
        self.settled.update(dict.fromkeys(addresses, True))

    def refuse(self, addresses: Sequence[str], code: int, text: str) -> None:
        """Note to whom the server says no, for now or for good."""
        self.refusal_code = code
        self._said.update(dict.fromkeys(addresses, shown_reply(code, text)))
        if code >= PERMANENT:
            self.settled.update(dict.fromkeys(addresses, False))

    def rule_out(self, addresses: Sequence[str], why: str) -> None:
        """Note who cannot be written to."""
        self._said.update(dict.fromkeys(addresses, why))
        self.settled.update(dict.fromkeys(addresses, False))

    @property
    def refusal_class(self) -> ErrorClass:
        """Whose no it was: the server's, or ours."""
        return ErrorClass.ADDRESS_REFUSED if self.refusal_code is None else ErrorClass.STATUS

    def refusals(self, addresses: Sequence[str]) -> str:
        """Return as one line who does not have it, and why."""
        if not addresses:
            return "there is no address"
        refused = [
            f"{text}: {self._said.get(text, 'refused before')}"
            for text in addresses
            if text in self._said or self.settled.get(text) is False
        ]
        count = self.count(addresses)
        behind = f"; {count} of {len(addresses)} have it" if count else ""
        return cut("; ".join(refused), _ERROR_UNITS_MAX - len(behind)) + behind

    @property
    def transcript(self) -> bytes:
        """What the server said, line by line."""
        return "\n".join(self._lines).encode("utf-8", "replace")
