"""A message as a title and a plain text, for remotes of which no more is known than that they show text."""

from __future__ import annotations

import re

import msgspec

from tocsin.transports.messages.cleaning import BREAK, STAND_IN, cleaned, is_blank, one_line
from tocsin.transports.messages.cutting import cut
from tocsin.transports.messages.message import Message

TITLE_MAX = 250
"""UTF-16 code units; most services cut earlier."""
BODY_MAX = 16_384
_NAME_MAX = 250
_LOOKED_AT = 4
"""How many times a limit is looked at of a text, so that a long one costs no more than it shows."""
_INDENT = "  "
_DECEIVING = re.compile(
    r"\](?=\()|@(?=everyone|here)|<(?=[@#!&]|(?:id|[0-9]{17,21}):|/[^>\n]{1,128}:[0-9]|[a-z]+:[^<>|\n]*\|)",
    re.IGNORECASE,
)
"""Links under another text and mentions, as Discord and Slack read them in a text that one of Apprise's services
sends as it is. Other marks are left: whether the service knows them, nobody here can tell."""


class PlainText(msgspec.Struct, frozen=True):
    """What is shown; neither text is ever blank.

    Attributes:
        truncated: whether anything was cut or left out.
    """

    title: str
    body: str
    truncated: bool


def plain_text(message: Message) -> PlainText:
    """Return the message; lines of ours begin at the margin, the further lines of a sender's texts do not."""
    blocks = [_text(message.note), _text(message.text)]
    rows: list[str] = []
    length = sum(map(len, blocks))
    for field in message.fields:
        if length > BODY_MAX:
            break
        rows.append(f"{_line(field.name, _NAME_MAX)}: {_text(field.value) or STAND_IN}")
        length += len(rows[-1])
    more = len(message.fields) - len(rows) + message.omitted
    blocks += ["\n".join(rows), "\n".join(_text(image) for image in message.images)]
    tail = f"+{more} more\n\n" if more else ""
    last = tail + message.time + ("" if is_blank(message.footer) else f"\n{_line(message.footer, _NAME_MAX)}")
    body = "\n\n".join(block for block in blocks if not is_blank(block))
    kept = cut(body, BODY_MAX - len(last) * 2 - 2)
    title = _line(f"{message.emoji} {message.heading}", TITLE_MAX)
    longest = max(map(len, (message.text, *(field.value for field in message.fields))))
    truncated = kept is not body or more > 0 or longest > BODY_MAX or message.shortened
    return PlainText(title, f"{kept}\n\n{last}".lstrip("\n"), truncated)


def _text(text: str) -> str:
    shown = _undeceiving(cleaned(text[: BODY_MAX + 1])).strip()
    return "" if is_blank(shown) else shown.replace("\n", f"\n{_INDENT}")


def _line(text: str, units_max: int) -> str:
    line = _undeceiving(one_line(text[: _LOOKED_AT * units_max])).strip()
    return STAND_IN if is_blank(line) else cut(line, units_max)


def _undeceiving(text: str) -> str:
    return _DECEIVING.sub(lambda found: found.group() + BREAK, text)
