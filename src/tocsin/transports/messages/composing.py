"""What a person is told of an event.

PingPilot's events have the words of its contract, PushGo's are told as the incident that they move, and all others
show their type and what their data hold. However large an event is, the work and the message stay bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, assert_never

import msgspec

from tocsin.core import javascript
from tocsin.core.cloudevents import Content, Kept, kept_of
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import prefixed
from tocsin.core.incident import Incident
from tocsin.transports.messages.bounded import Fields
from tocsin.transports.messages.incidents import PLAIN_COLOR, PLAIN_EMOJI, SEVERITY_STYLES, incident_message, said_of
from tocsin.transports.messages.message import Message, Template

DATA_READ_BYTES_MAX = 65_536
"""Data larger than this are not taken apart; their beginning is shown as it stands. PingPilot's fields always are."""
DATA_SHOWN_BYTES = 8_192
"""How much of such data is looked at."""
FIELDS_ORDERED_MAX = 10_000
"""With more fields than this they stay in the order in which they were written, numbers or not."""
COLOR_MAX = 0xFFFFFF

_MESSAGE_TYPE = "message"
"""PushGo's event that moves no incident."""
_DISABLED_TYPE = "tocsin.destination.disabled"
_DISABLED_EMOJI = "\u26d4"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def compose(event: Event, incident: Incident | None, note: str = "") -> Message:
    """Return what people are told of an event.

    Args:
        incident: that the event belongs to, as it stands; what the event itself says lies over it.
        note: a line of Tocsin's own above the message.
    """
    if event.dialect is Dialect.PINGPILOT:
        return _category(event, note)
    if incident is not None or (event.dialect is Dialect.PUSHGO and event.type != _MESSAGE_TYPE):
        return incident_message(event, incident, note=note, footer=_footer(event))
    if event.dialect is Dialect.PUSHGO:
        return _pushgo_message(event, note)
    return _plain(event, note)


def _category(event: Event, note: str) -> Message:
    """Source: PingPilot's documentation, "Event formatting"."""
    name = event.type
    body = _parsed_object(event.data)
    given = body.get("fields")
    described = body.get("description")
    fields = Fields()
    text = described if isinstance(described, str) and described else f"A new {name} event has occurred!"
    if isinstance(given, dict):
        # A list of a hundred thousand would cost more to sort than all the rest together, and nobody reads so far.
        names: Iterable[str] = given if len(given) > FIELDS_ORDERED_MAX else javascript.listed(given)
        for key in islice(names, fields.room):
            value = given[key]
            if isinstance(value, str | int | float):
                fields.add(key, javascript.printed(value))
        fields.omit(len(given) - len(fields.taken))
    emoji = event.extension.get("emoji")
    color = event.extension.get("color")
    return Message(
        template=Template.CATEGORY,
        emoji=emoji if isinstance(emoji, str) and emoji else PLAIN_EMOJI,
        heading=name[:1].upper() + name[1:],
        text=fields.bounded(text),
        color=min(max(color, 0), COLOR_MAX) if isinstance(color, int) else 0,
        time_ms=event.time_ms,
        fields=tuple(fields.taken),
        omitted=fields.omitted,
        shortened=fields.shortened,
        note=note,
    )


def _pushgo_message(event: Event, note: str) -> Message:
    said = said_of(event)
    fields = Fields()
    fields.add_some("Severity", said.severity)
    fields.add_some("Link", said.url)
    fields.add_some("Tags", ", ".join(said.tags))
    fields.add_some("Thing", said.thing_id)
    fields.add_members(said.metadata)
    return _styled(event, said.title or event.type, fields.bounded(said.body or ""), fields, note, said.images)


def _plain(event: Event, note: str) -> Message:
    fields = Fields()
    fields.add_some("Severity", event.severity)
    fields.add_some("Subject", event.subject)
    kept = kept_of(event)
    if kept is not None and kept.content is not Content.JSON:
        text = _content(event, kept, fields)
    else:
        text = _view(event, fields)
    return _styled(event, event.type, text, fields, note)


def _styled(
    event: Event, heading: str, text: str, fields: Fields, note: str, images: tuple[str, ...] = ()
) -> Message:
    emoji, color = PLAIN_EMOJI, PLAIN_COLOR
    if event.severity is not None:
        emoji, color = SEVERITY_STYLES[event.severity]
    elif event.type == _DISABLED_TYPE:
        emoji = _DISABLED_EMOJI
    return Message(
        template=Template.PLAIN,
        emoji=emoji,
        heading=fields.bounded(heading),
        text=text,
        color=color,
        time_ms=event.time_ms,
        fields=tuple(fields.taken),
        omitted=fields.omitted,
        shortened=fields.shortened,
        images=images,
        footer=_footer(event),
        note=note,
    )


def _view(event: Event, fields: Fields) -> str:
    """Put the members of an event's data among the fields; return what stands above them."""
    data = event.data
    if len(data) > DATA_READ_BYTES_MAX:
        fields.shortened = True
        return fields.bounded(data[:DATA_SHOWN_BYTES].decode("utf-8", "ignore"), cut_before=True)
    try:
        members = _members(data)
    except (ValueError, RecursionError):
        return fields.bounded(_readable(data))
    text = ""
    if event.dialect is Dialect.TOCSIN and "message" in members:
        text = _readable(bytes(members.pop("message")))
    shown = min(len(members), fields.room)
    for name, raw in islice(members.items(), shown):
        fields.add(name, _readable(bytes(raw)))
    fields.omit(len(members) - shown)
    return fields.bounded(text)


def _content(event: Event, kept: Kept, fields: Fields) -> str:
    """Return what is shown of a CloudEvent's data that are not JSON."""
    fields.add_some("Content type", kept.datacontenttype)
    match kept.content:
        case Content.NONE:
            return ""
        case Content.BASE64:
            # Two quotes stand around, four characters are three bytes, and each padding sign is one less.
            count = (len(event.data) - 2) // 4 * 3 - event.data[-3:].count(b"=")
            return f"{max(count, 0)} bytes of binary data"
        case Content.TEXT:
            return _view(event, fields)
        case Content.JSON:
            return _view(event, fields)
    assert_never(kept.content)


def _readable(data: bytes) -> str:
    """Return a JSON document for reading: a string as its text, all else as compact JSON, numbers to the digit."""
    try:
        if data[:1] == b'"':
            return _text(data)
        return msgspec.json.format(data, indent=-1).decode()
    except (ValueError, RecursionError):
        return data.decode("utf-8", "replace")


def _parsed_object(data: bytes) -> dict[str, Any]:
    try:
        value = javascript.parsed(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _footer(event: Event) -> str:
    """Return where an event comes from, and the id by which it is found again."""
    test = " \u00b7 test" if event.environment is Environment.TEST else ""
    return f"{event.source} \u00b7 {prefixed('evt', event.id)}{test}"
