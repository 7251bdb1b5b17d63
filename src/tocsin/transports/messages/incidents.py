"""Incidents as people are told of them: what the event says, over what is known of the incident."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.clock import TIME_MAX_MS, TIME_MIN_MS, rfc3339
from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import hex32
from tocsin.core.incident import Incident, IncidentState, patched
from tocsin.transports.messages.bounded import Fields
from tocsin.transports.messages.message import Message, Template

SEVERITY_STYLES = {
    Severity.CRITICAL: ("\U0001f534", 0xE74C3C),
    Severity.HIGH: ("\U0001f7e0", 0xE67E22),
    Severity.NORMAL: ("\U0001f535", 0x3498DB),
    Severity.LOW: ("\u26aa", 0x95A5A6),
}
"""Emoji and colour."""
PLAIN_EMOJI = "\U0001f514"
PLAIN_COLOR = 0x607D8B

_CLOSED_EMOJI = "\u2705"
_CLOSED_COLOR = 0x2ECC71
_UPDATED_TYPE = "event.updated"
_CLOSED_TYPE = "event.closed"
_PREFIXES = {_UPDATED_TYPE: "Update: ", _CLOSED_TYPE: "Closed: "}

_list = msgspec.json.Decoder(list[str]).decode
_dict = msgspec.json.Decoder(dict[str, Any]).decode


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What is known in PushGo's words; None or empty where nothing was said."""

    title: str | None = None
    body: str | None = None
    description: str | None = None
    status: str | None = None
    message: str | None = None
    severity: str | None = None
    url: str | None = None
    thing_id: str | None = None
    tags: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    attrs: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    started_ms: int | None = None
    ended_ms: int | None = None


def said_of(event: Event, incident: Incident | None = None) -> Said:
    """Return what an event of PushGo's says, over what stands in its incident.

    The event's extension has lists and objects as JSON texts and times as digits; an incident has them as values.
    """
    own = _own(event) if event.dialect is Dialect.PUSHGO else {}
    known: dict[str, Any] = own if incident is None else {**incident.profile, **own}
    attrs = patched({} if incident is None else incident.attrs, _object(own.get("attrs")))
    return Said(
        **{name: _text_or_none(known.get(name)) for name in _TEXTS},
        severity=_text_or_none(known.get("severity")) or event.severity,
        tags=_texts(known.get("tags")),
        images=_texts(known.get("images")),
        attrs=attrs,
        metadata=_object(known.get("metadata")),
        started_ms=_ms(known.get("started_at")),
        ended_ms=_ms(known.get("ended_at")),
    )


def incident_message(event: Event, incident: Incident | None, *, note: str, footer: str) -> Message:
    """Return what people are told of an event that moves an incident."""
    said = said_of(event, incident)
    state = _state(event, incident)
    thread = event.subject or hex32(event.id) if incident is None else hex32(incident.id)
    fields = _fields(said, state)
    told = [text for text in (said.message, said.description) if text]
    emoji, color = _style(said.severity, state)
    return Message(
        template=Template.INCIDENT,
        emoji=emoji,
        heading=_PREFIXES.get(event.type, "") + fields.bounded(said.title or f"Event {thread}"),
        text=fields.bounded("\n\n".join(dict.fromkeys(told))),
        color=color,
        time_ms=event.time_ms,
        fields=tuple(fields.taken),
        omitted=fields.omitted,
        shortened=fields.shortened,
        images=said.images,
        footer=footer,
        thread=thread,
        opens_thread=thread == hex32(event.id),
        state=state,
        note=note,
    )


def _fields(said: Said, state: IncidentState) -> Fields:
    fields = Fields()
    fields.add("State", state.value)
    fields.add_some("Status", said.status)
    fields.add_some("Severity", said.severity)
    fields.add_some("Started", _shown_time(said.started_ms))
    # An end that was told before the incident went on is none.
    fields.add_some("Ended", _shown_time(said.ended_ms) if state is IncidentState.CLOSED else None)
    fields.add_some("Tags", ", ".join(said.tags))
    fields.add_some("Thing", said.thing_id)
    fields.add_members(said.attrs)
    fields.add_members(said.metadata)
    return fields


def _state(event: Event, incident: Incident | None) -> IncidentState:
    if event.incident_state is not None:
        return event.incident_state
    if event.dialect is Dialect.PUSHGO:
        # A replay moves no incident; it tells the state that its own kind leads to.
        return IncidentState.CLOSED if event.type == _CLOSED_TYPE else IncidentState.ONGOING
    return IncidentState.ONGOING if incident is None else incident.state


def _style(severity: str | None, state: IncidentState) -> tuple[str, int]:
    if state is IncidentState.CLOSED:
        return _CLOSED_EMOJI, _CLOSED_COLOR
    try:
        return SEVERITY_STYLES[Severity(severity or "")]
    except ValueError:
        return PLAIN_EMOJI, PLAIN_COLOR


_TEXTS = ("title", "body", "description", "status", "message", "url", "thing_id")


def _own(event: Event) -> dict[str, Any]:
    own = dict(event.extension)
    for name, read in (("tags", _list), ("images", _list), ("attrs", _dict), ("metadata", _dict)):
        if isinstance(own.get(name), str):
            try:
                own[name] = read(own[name])
            except (ValueError, RecursionError):
                del own[name]
    return own


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list | tuple) else ()


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ms(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value) if isinstance(value, int | str) else None
    except ValueError:
        return None


def _shown_time(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return rfc3339(min(max(at_ms, TIME_MIN_MS), TIME_MAX_MS))[:-1].replace("T", " ") + " UTC"
