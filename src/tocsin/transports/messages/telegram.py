"""A message as Telegram takes it: plain texts, without any parse mode.

Nothing in them is markup, so nothing needs to be escaped. Two things are left to see to: what a line begins with is
all that tells our lines from a sender's, and Telegram finds mentions and commands in plain text by itself.

Sources: PingPilot's documentation, "Telegram"; Telegram Bot API, "sendMessage"; ``match_bot_commands`` in tdlib's
``td/telegram/MessageEntity.cpp``.
"""

from __future__ import annotations

import re

import msgspec

from tocsin.transports.messages.cleaning import BREAK, STAND_IN, cleaned, is_blank, one_line
from tocsin.transports.messages.cutting import ELLIPSIS, head, units
from tocsin.transports.messages.message import Message, Template

TEXT_MAX = 4096
"""UTF-16 code units in one message."""
TEXTS_MAX = 5
"""Messages for one event; Telegram takes about one a second in a chat."""

_TAIL_UNITS = 24
"""Room for the line that counts what is left out."""
_MARKERS = "\U0001f389\U0001f4cc\U0001f4dd\U0001f3a8\U0001f552\U0001f539\U0001f4f7\U0001f4e1"
"""What our lines begin with."""
_FORGED = re.compile(f"\n(?=(?:[^\\S\n]|[\u00ad\u061c\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff])*[{_MARKERS}])")
_QUOTED = "\n> "
_MENTION = re.compile(r"(?<![0-9A-Za-z_])@(?=[A-Za-z])")
_COMMAND = re.compile(
    # Within an address nothing is a command.
    "(?P<address>(?:(?<=http:)|(?<=https:))//[\\w-]+(?:\\.[\\w-]+)+(?::[0-9]+)?"
    '[/?#][^\\s<>"\u00ab\u00bb\u2000-\u200b\u200e-\u201f\u3000]*)'
    "|(?<![\\w/<>])/(?=[0-9A-Za-z_]{1,64}(?![\\w/<>]))"
)


class TelegramTexts(msgspec.Struct, frozen=True):
    """The texts to send, in order, at least one.

    Attributes:
        truncated: whether anything was cut or left out.
    """

    texts: tuple[str, ...]
    truncated: bool


class _Text:
    """A text that grows by lines until no more of it would be sent.

    Attributes:
        length: in code points, never more than the units that Telegram counts.
        fields: how many it tells.
        shortened: whether a part of it was cut before.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._starts: list[int] = []
        self.length = 0
        self.shortened = False

    @property
    def is_full(self) -> bool:
        """Whether what is added now would not be sent."""
        return self.length > TEXTS_MAX * TEXT_MAX

    @property
    def fields(self) -> int:
        """How many it tells."""
        return len(self._starts)

    def add(self, line: str) -> None:
        """Add a line, or several at once."""
        self._lines.append(line)
        self.length += len(line) + 1

    def add_field(self, line: str) -> None:
        """Add the line of a field."""
        self._starts.append(self.length)
        self.add(line)

    def quoted(self, text: str) -> str:
        """Return a sender's text, those of its lines marked that would pass for ours."""
        if len(text) > TEXTS_MAX * TEXT_MAX:
            self.shortened = True
            text = text[: TEXTS_MAX * TEXT_MAX] + ELLIPSIS
        text = _inert(cleaned(text))
        return _FORGED.sub(_QUOTED, text) if "\n" in text else text

    def joined(self) -> str:
        """Return what there is."""
        return "\n".join(self._lines)

    def begins_field(self, place: int) -> bool:
        """Return whether a field begins there."""
        return place in self._starts

    def fields_from(self, place: int) -> int:
        """Return how many fields begin there or later."""
        return sum(start >= place for start in self._starts)


def telegram_texts(message: Message) -> TelegramTexts:
    """Return the message as texts, each within what Telegram takes."""
    text = _Text()
    if not is_blank(message.note):
        text.add(f"{_inert(cleaned(message.note)).strip()}\n")
    if message.template is Template.CATEGORY:
        _add_category(text, message)
    else:
        _add_plain(text, message)
    return _split(text, len(message.fields) - text.fields + message.omitted, message.shortened or text.shortened)


def _add_category(text: _Text, message: Message) -> None:
    text.add("\U0001f389 Event Notification \U0001f389\n")
    text.add(f"\U0001f4cc Category: {_named(f'{message.emoji} {message.heading}')}")
    text.add(f"\U0001f4dd Description: {text.quoted(message.text)}")
    text.add(f"\U0001f3a8 Color Code: {message.color}")
    text.add(f"\U0001f552 Timestamp: {message.time}\n")
    # Without fields too, as upstream has it.
    text.add("\U0001f4cc Details:")
    _add_fields(text, message)


def _add_plain(text: _Text, message: Message) -> None:
    heading = _named(f"{message.emoji} {message.heading}").strip()
    text.add(f"{STAND_IN if is_blank(heading) else heading}\n")
    if not is_blank(message.text):
        text.add(text.quoted("\n" + message.text.strip())[1:] + "\n")
    _add_fields(text, message)
    for address in message.images:
        if text.is_full:
            break
        text.add(f"\U0001f4f7 {text.quoted(address)}")
    text.add(f"\U0001f552 {message.time}")
    if not is_blank(message.footer):
        text.add(f"\U0001f4e1 {_named(message.footer)}")


def _add_fields(text: _Text, message: Message) -> None:
    for field in message.fields:
        if text.is_full:
            break
        text.add_field(f"\U0001f539 {_named(field.name)}: {text.quoted(field.value)}")


def _split(text: _Text, more: int, shortened: bool) -> TelegramTexts:
    """Cut the text into messages, between lines where that is possible.

    Args:
        more: fields that the text does not tell.
    """
    whole = text.joined()
    spans: list[tuple[int, int]] = []
    start, end = 0, len(whole.rstrip())
    while start < end and len(spans) < TEXTS_MAX:
        stop = _stop(whole, start, end, TEXT_MAX)
        # Telegram refuses a message of which nothing can be seen.
        if not is_blank(whole[start:stop]):
            spans.append((start, stop))
        start = _next(whole, stop, end)
    if start >= end and not more:
        return TelegramTexts(tuple(whole[begin:stop].rstrip() for begin, stop in spans), shortened)
    begin, stop = spans[-1]
    if units(whole[begin:stop]) > TEXT_MAX - _TAIL_UNITS:
        stop = _stop(whole, begin, end, TEXT_MAX - _TAIL_UNITS)
    last = whole[begin:stop].rstrip()
    if _next(whole, stop, end) < end:
        more += text.fields_from(stop)
        if not text.begins_field(stop + 1):
            last += ELLIPSIS if whole[stop] != "\n" else f"\n{ELLIPSIS}"
    if more:
        last += f"\n+{more} more"
    return TelegramTexts((*(whole[at:to].rstrip() for at, to in spans[:-1]), last), True)


def _stop(whole: str, start: int, end: int, units_max: int) -> int:
    """Return where a message that begins at ``start`` ends: behind a line, or within one that is longer than it."""
    stop = start + len(head(whole[start : start + units_max + 1], units_max))
    if stop >= end:
        return end
    if whole[stop] == "\n":
        return stop
    line_end = whole.rfind("\n", start, stop)
    if line_end == -1 or is_blank(whole[start:line_end]):
        return stop
    next_end = whole.find("\n", stop, line_end + 1 + units_max + 1)
    # A line that no message could hold is begun in this one.
    return line_end if next_end != -1 or end - line_end <= units_max else stop


def _next(whole: str, stop: int, end: int) -> int:
    """Return where the next message begins: Telegram would take white space from its beginning anyway."""
    while stop < end and whole[stop].isspace():
        stop += 1
    return stop


def _named(text: str) -> str:
    return _inert(one_line(text))


def _inert(text: str) -> str:
    """Return ``text`` without what Telegram would take for a member's name, or for a command that a tap sends."""
    if "/" in text:
        text = _COMMAND.sub(lambda found: found["address"] or f"/{BREAK}", text)
    return _MENTION.sub(f"@{BREAK}", text) if "@" in text else text
