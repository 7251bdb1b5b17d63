"""A message as a mail: a text and an HTML page, of which neither can be anything but what it says.

Everything that comes from a sender is text: nothing in it becomes a header, a tag, a link or a style, and whoever
reads it loads no picture.

Sources: RFC 5322 (headers), RFC 3834 (Auto-Submitted), RFC 2369 and RFC 8058 (List-Unsubscribe).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, formataddr
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
import msgspec

from tocsin.core.event import Severity
from tocsin.core.identifiers import DestinationId, EventId, digest, hex32, prefixed
from tocsin.core.incident import IncidentState
from tocsin.transports.mail_addresses import MailAddress, Sender
from tocsin.transports.messages.cleaning import STAND_IN, cleaned, is_blank, one_line
from tocsin.transports.messages.cutting import cut
from tocsin.transports.messages.message import Field, Message, Template

SUBJECT_MAX = 200
"""UTF-16 code units; mail programs show fewer."""
HEADING_MAX = 300
NAME_MAX = 300
CHARACTERS_MAX = 65_536
"""Of text and fields together. Each stands in the mail twice, and mail programs cut what is longer than 100 KB."""

_ENCODED = "=?"
"""Begins an encoded word. Some versions of Python decode such a word in what is set as a subject, and write what it
held as a header of its own."""
_LOOKED_AT = 4
"""How many times a limit is looked at of a text, so that a long one costs no more than it shows."""
_QUOTED_PRINTABLE_MAX = 16_384
"""Characters; a longer part is written in Base64, which is made much faster."""
_CLOSED_PREFIX = "Closed: "
_INDENT = "  "


class WrittenMail(msgspec.Struct, frozen=True):
    """A mail, ready to be sent.

    Attributes:
        truncated: whether anything of the message was cut or left out.
    """

    mail: EmailMessage
    truncated: bool


def mail_of(
    message: Message,
    *,
    sender: Sender,
    to: Sequence[MailAddress],
    subject: str,
    event_id: EventId,
    destination_id: DestinationId,
    date_ms: int,
    unsubscribe: str | None = None,
) -> WrittenMail:
    """Return the mail that tells a message, fit for any server: all its bytes are ASCII, unless an address is not.

    Args:
        subject: of a category's events.
        date_ms: when it is written, by the wall clock.
        unsubscribe: where its recipient gets no more of these; None where nobody listens.
    """
    mail = EmailMessage(_WRITTEN)
    title = _subject(message, subject)
    own_id = message_id(sender, destination_id, hex32(event_id))
    mail["From"] = Address(sender.name, sender.address.local, sender.address.host)
    mail["To"] = [Address("", each.local, each.host) for each in to]
    mail["Subject"] = title
    mail["Date"] = format_datetime(datetime.fromtimestamp(date_ms // 1000, UTC))
    mail["Message-ID"] = own_id
    if message.thread is not None:
        first_id = message_id(sender, destination_id, message.thread)
        if first_id != own_id:
            mail["In-Reply-To"] = first_id
            mail["References"] = first_id
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Entity-Ref-ID"] = prefixed("evt", event_id) if message.thread is None else _reference(message.thread)
    if unsubscribe is not None:
        mail["List-Unsubscribe"] = f"<{unsubscribe}>"
        if unsubscribe.startswith("https://"):
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    shown = _Shown(message, title, unsubscribe)
    _write(mail, shown, boundary=own_id)
    return WrittenMail(mail, shown.truncated)


def message_id(sender: Sender, destination_id: DestinationId, key: str) -> str:
    """Return the Message-ID of what one destination is told of an event, the same at every attempt.

    Args:
        key: the event's id in hex. That of an incident's first event is the incident's own, so that later mails know
            the Message-ID of the first.
    """
    return f"<{digest(b'mail', destination_id, key.encode()).hex()}@{sender.address.host}>"


class _Written(EmailPolicy):
    """Writes our headers by itself: what Python makes of long ones differs from version to version.

    It would write encoded words into a long ``List-Unsubscribe`` or ``References``, where nobody decodes them.
    """

    def fold(self, name: str, value: Any) -> str:
        """Return a header as it is sent."""
        match name:
            case "Subject":
                written = str(value)
                if not written.isascii():
                    written = Header(written, "utf-8", header_name=name).encode(linesep=self.linesep)
            case "From":
                (address,) = value.addresses
                written = formataddr((address.display_name, address.addr_spec))
            case "To":
                written = f",{self.linesep} ".join(each.addr_spec for each in value.addresses)
            case "Message-ID" | "In-Reply-To" | "References" | "List-Unsubscribe":
                written = str(value)
            case _:
                return str(super().fold(name, value))
        return f"{name}: {written}{self.linesep}"

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header as it is sent; only an address can be other than ASCII."""
        return self.fold(name, value).encode()


_WRITTEN = _Written(linesep="\r\n")


class _Shown:
    """What the parts of a mail show, cleaned and within their bounds."""

    def __init__(self, message: Message, subject: str, unsubscribe: str | None) -> None:
        self.truncated = message.shortened
        self.subject = subject
        self.unsubscribe = unsubscribe
        self.color = f"#{message.color:06x}"
        self.note = _looked_at(message.note, HEADING_MAX).strip()
        self.heading = self._line(f"{message.emoji} {message.heading}".strip(), HEADING_MAX)
        self.time = message.time
        self.footer = "" if is_blank(message.footer) else _line(message.footer, NAME_MAX)
        self._left = CHARACTERS_MAX
        text = self._taken(message.text).strip("\n")
        self.text = "" if is_blank(text) else text
        images = tuple(Field("Image", address) for address in message.images)
        self.fields = [field for each in message.fields + images if (field := self._field(each)) is not None]
        self.more = len(message.fields + images) - len(self.fields) + message.omitted
        self.truncated |= self.more > 0

    def _field(self, field: Field) -> Field | None:
        if self._left <= 0:
            return None
        name = self._taken(self._line(field.name, NAME_MAX))
        value = self._taken(field.value)
        return Field(name, STAND_IN if is_blank(value) else value)

    def _line(self, text: str, units_max: int) -> str:
        line = _line(text, units_max)
        # What fits is a line as it is: only a cut one ends in an ellipsis that is none of its own.
        self.truncated |= line != _line(text, _LOOKED_AT * units_max)
        return line

    def _taken(self, text: str) -> str:
        is_longer = len(text) > self._left + 1
        text = cleaned(text[: self._left + 1])
        if len(text) > self._left:
            text = cut(text, self._left)
            is_longer = True
        self.truncated |= is_longer
        self._left -= len(text)
        return text

    def plain(self) -> str:
        """Return the text part: lines of ours begin at the margin, those of a sender's texts do not."""
        blocks = [self.note] if self.note else []
        blocks.append(f"{self.heading}\n{'=' * min(len(self.heading), 60)}")
        if self.text:
            blocks.append(_indented(self.text))
        rows = [f"{each.name}: {_indented(each.value).removeprefix(_INDENT)}" for each in self.fields]
        if self.more:
            rows.append(f"+{self.more} more")
        if rows:
            blocks.append("\n".join(rows))
        blocks.append("\n".join(line for line in (self.time, self.footer) if line))
        if self.unsubscribe is not None:
            blocks.append(f"-- \nGet no more of these mails: {self.unsubscribe}")
        return "\n\n".join(blocks) + "\n"

    def html(self) -> str:
        """Return the HTML part."""
        return _template().render(vars(self))


def _write(mail: EmailMessage, shown: _Shown, *, boundary: str) -> None:
    """Put the parts in: the plain one first, since the last one that a mail program understands is shown."""
    for text, subtype in ((shown.plain(), "plain"), (shown.html(), "html")):
        coding = "quoted-printable" if len(text) <= _QUOTED_PRINTABLE_MAX else "base64"
        if subtype == "plain":
            mail.set_content(text, subtype=subtype, cte=coding)
        else:
            mail.add_alternative(text, subtype=subtype, cte=coding)
    # In neither coding can a line have this, so that no text ends its part.
    mail.set_boundary(f"=_{boundary.strip('<>').partition('@')[0]}")


def _subject(message: Message, subject: str) -> str:
    """Return what stands in the list of mails: what is urgent about it first."""
    if message.template is Template.CATEGORY:
        return _header(subject, SUBJECT_MAX)
    heading, label = message.heading, _severity(message)
    if message.state is IncidentState.CLOSED:
        heading, label = heading.removeprefix(_CLOSED_PREFIX), "CLOSED"
    elif message.state is not None and label is None:
        label = "ONGOING"
    return _header(heading if label is None else f"[{label}] {heading}", SUBJECT_MAX)


def _severity(message: Message) -> str | None:
    told = next((field.value for field in message.fields if field.name == "Severity"), "")
    return told.upper() if told in tuple(Severity) else None


def _header(text: str, units_max: int) -> str:
    """Return a text that is the same to every version of Python once it is a header."""
    return " ".join(_line(text, units_max).split()).replace(_ENCODED, "= ?")


def _line(text: str, units_max: int) -> str:
    line = one_line(_looked_at(text, units_max)).strip()
    return STAND_IN if is_blank(line) else cut(line, units_max)


def _looked_at(text: str, units_max: int) -> str:
    return cleaned(text[: _LOOKED_AT * units_max])


def _indented(text: str) -> str:
    return "\n".join(f"{_INDENT}{line}".rstrip() for line in text.split("\n"))


def _reference(thread: str) -> str:
    return f"inc_{thread}" if len(thread) <= 64 and thread.isascii() and thread.isalnum() else "inc"


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    source = files("tocsin.transports.messages").joinpath("mail.html.jinja").read_text("utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
