"""A message as Discord takes it: embeds within its limits.

A category's event keeps its texts as their sender wrote them, Markdown included, as PingPilot does; only what would
pass for something else (a mention, a link that hides its address) is shown as the characters that it is made of. In
all other messages nothing is Markdown.

Sources: Discord's documentation, "Embed limits", "Message formatting", "Allowed mentions object".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.transports.messages.cleaning import BREAK, STAND_IN, cleaned, is_blank, one_line
from tocsin.transports.messages.cutting import ELLIPSIS, cut, units
from tocsin.transports.messages.message import Field, Message, Template

CONTENT_MAX = 2000
TITLE_MAX = 256
DESCRIPTION_MAX = 4096
NAME_MAX = 256
VALUE_MAX = 1024
FOOTER_MAX = 256
"""Ours; Discord takes 2048, which would leave less for what matters."""
FIELDS_MAX = 25
"""In one embed."""
EMBEDS_MAX = 10
"""In one message."""
TOTAL_MAX = 6000
"""Titles, descriptions, names, values and footers of all embeds of one message."""

_VALUE_WORTH = 16
"""A field of whose value less than this would be left is not begun."""
_MORE_UNITS = 24
"""Room for the line that counts what is left out."""
_INLINE_MAX = 40
"""The longest value that stands beside others, outside of a category's event, where all do."""
_LOOKED_AT = 2
"""How many times a limit is looked at of a text, so that a long one costs no more than it shows."""

_DECEIVING = re.compile(r"\](?=\()|@(?=everyone|here)|<(?=[@#]|(?:id|[0-9]{17,21}):|/[^>\n]{1,128}:[0-9])")
"""Links with another text than their address; mentions of all, a user, a role, a channel, a command, a place."""
_CODED = re.compile(r"<(?=[@#:]|(?:a|t|id|[0-9]{17,21}):|/[^>\n]{1,128}:[0-9])|\](?=\()|@(?=everyone|here)")
"""Also emoji and times by number."""
_ADDRESS = r"<[^: >]{1,32}:/[^ >]{1,512}>|https?://[^\s<]+[^<.,:;\"'\]\s]"
"""What Discord takes for an address, to the character: behind its end, signs are markup again. Where Discord has no
bounds, backslashes are shown in what is longer."""
_SIGNS = re.compile(
    rf"(?P<address>{_ADDRESS})|(?P<scheme>https?:/)(?=/)"
    r"|^(?P<indent>[ \t]*(?:[0-9]{1,10}(?=\.\s))?)(?=#{1,3}\s|-#\s|>|[-+]\s|\.\s)"
    r"|(?=[\\`*~|]|:[A-Za-z+-][A-Za-z0-9_+-]{0,63}:)",
    re.MULTILINE,
)
"""Where a backslash goes; addresses, into which none may go; and what a backslash would make an address."""
_UNDERSCORE_PAIR = re.compile(r"_(?![0-9A-Za-z])")
"""Underscores of which each has a letter or digit behind it (``error_code``) mark nothing."""
_ADDRESS_OR_UNDERSCORE = re.compile(rf"{_ADDRESS}|_")
_IMAGE_ADDRESS = re.compile(
    r"https?://(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}(?::[0-9]{1,5})?(?:[/?][!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?",
    re.IGNORECASE,
)
"""Stricter than Discord, which refuses the whole message for an address that it finds ill-formed."""
_IMAGE_ADDRESS_MAX = 2048


class DiscordPayload(msgspec.Struct, frozen=True):
    """The body of a request that posts or edits one message.

    Attributes:
        truncated: whether anything was cut or left out.
    """

    body: dict[str, Any]
    truncated: bool


class _Room:
    """What is left of the characters of a message, and whether anything did not fit."""

    def __init__(self, units_max: int) -> None:
        self.left = units_max
        self.truncated = False

    def look(self, text: str, units_max: int) -> str:
        """Return the beginning of ``text`` that decides what is shown of it."""
        if len(text) <= _LOOKED_AT * units_max:
            return text
        self.truncated = True
        return text[: _LOOKED_AT * units_max] + ELLIPSIS

    def take(self, text: str, units_max: int) -> str:
        """Return as much of ``text`` as fits, and count it."""
        kept = cut(text, min(units_max, self.left))
        if kept is not text:
            self.truncated = True
            # The backslash belonged to a sign that was cut off; the underscore could end what was to be no markup.
            kept = kept[: -len(ELLIPSIS)].rstrip("\\_") + kept[-len(ELLIPSIS) :]
        self.left -= units(kept)
        return kept


def discord_payload(message: Message) -> DiscordPayload:
    """Return the message as one request's body; no text in it can mention anybody."""
    shown, unshown = _image(message.images)
    fields = message.fields
    if unshown:
        fields += (Field("Images", "\n".join(unshown)),)
    room = _Room(TOTAL_MAX)
    embeds, count = _embeds(message, fields, room)
    more = len(fields) - count + message.omitted
    if more:
        room = _Room(TOTAL_MAX - _MORE_UNITS)
        embeds, count = _embeds(message, fields, room)
        more = len(fields) - count + message.omitted
    footer = embeds[0].pop("footer", None)
    lines = [line for line in (f"+{more} more" if more else "", footer) if line]
    if shown is not None:
        embeds[0]["image"] = {"url": shown}
    if lines:
        embeds[-1]["footer"] = {"text": " \u00b7 ".join(lines)}
    above = _Room(CONTENT_MAX)
    note = _shown(message.note, CONTENT_MAX, _literal, above)
    body: dict[str, Any] = {} if is_blank(note) else {"content": above.take(note, CONTENT_MAX)}
    body |= {"embeds": embeds, "allowed_mentions": {"parse": []}}
    return DiscordPayload(body, room.truncated or above.truncated or more > 0 or message.shortened)


def _embeds(message: Message, fields: tuple[Field, ...], room: _Room) -> tuple[list[dict[str, Any]], int]:
    """Return the embeds, the footer's text in the first, and how many of the fields they hold."""
    is_category = message.template is Template.CATEGORY
    written = _undeceiving if is_category else _literal
    title = one_line(room.look(f"{message.emoji} {message.heading}", TITLE_MAX)).strip()
    first: dict[str, Any] = {"title": room.take(_visible(written(title)), TITLE_MAX)}
    description = _shown(message.text, DESCRIPTION_MAX, written, room)
    if is_category or not is_blank(description):
        first["description"] = room.take(_visible(description), DESCRIPTION_MAX)
    first |= {"color": message.color, "timestamp": message.time, "fields": []}
    if not is_blank(message.footer):
        first["footer"] = room.take(one_line(room.look(message.footer, FOOTER_MAX)).strip(), FOOTER_MAX)
    embeds, count = [first], 0
    for field in fields[: EMBEDS_MAX * FIELDS_MAX]:
        name = _visible(written(one_line(room.look(field.name, NAME_MAX)).strip()))
        value = _visible(_shown(field.value, VALUE_MAX, written, room))
        if units(cut(name, NAME_MAX)) + min(units(value), _VALUE_WORTH) > room.left:
            break
        if len(embeds[-1]["fields"]) == FIELDS_MAX:
            embeds.append({"color": message.color, "fields": []})
        name = room.take(name, NAME_MAX)
        inline = is_category or len(value) <= _INLINE_MAX
        embeds[-1]["fields"].append({"name": name, "value": room.take(value, VALUE_MAX), "inline": inline})
        count += 1
    return embeds, count


def _shown(text: str, units_max: int, written: Callable[[str], str], room: _Room) -> str:
    """Return a text of several lines as it is sent, not yet cut to its limit.

    Discord measures what is left after trimming, and so do we.
    """
    return written(cleaned(room.look(text, units_max)).strip())


def _visible(text: str) -> str:
    return STAND_IN if is_blank(text) else text


def _undeceiving(text: str) -> str:
    """Return ``text`` with Discord's Markdown, but without its mentions and its links under another text."""
    return _DECEIVING.sub(_broken, text)


def _literal(text: str) -> str:
    """Return what Discord shows as ``text``, none of it Markdown."""
    text = _SIGNS.sub(_escaped, _CODED.sub(_broken, text))
    if "_" in text and _UNDERSCORE_PAIR.search(text) is not None:
        text = _ADDRESS_OR_UNDERSCORE.sub(_escaped_underscore, text)
    return text


def _broken(found: re.Match[str]) -> str:
    return found.group() + BREAK


def _escaped(found: re.Match[str]) -> str:
    if found["address"] is not None:
        return found["address"]
    if found["scheme"] is not None:
        return found["scheme"] + BREAK
    return (found["indent"] or "") + "\\"


def _escaped_underscore(found: re.Match[str]) -> str:
    return "\\_" if found.group() == "_" else found.group()


def _image(images: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Return the first image that Discord is sure to take, and all others."""
    for place, address in enumerate(images):
        if len(address) <= _IMAGE_ADDRESS_MAX and _IMAGE_ADDRESS.fullmatch(address) is not None:
            return address, [*images[:place], *images[place + 1 :]]
    return None, list(images)
