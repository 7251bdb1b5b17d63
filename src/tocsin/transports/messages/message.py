"""What a person is told, before it takes the form of a remote."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.clock import TIME_MAX_MS, TIME_MIN_MS, rfc3339
from tocsin.core.incident import IncidentState


class Template(StrEnum):
    """Which words stand around a message."""

    CATEGORY = "category"
    """PingPilot's: its contract has them to the character."""
    INCIDENT = "incident"
    """What PushGo's events create, update and close."""
    PLAIN = "plain"
    """An event of any other kind."""


class Field(msgspec.Struct, frozen=True):
    """A name and a value that belong together, both as they are read."""

    name: str
    value: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One event for people: texts of any length and any content, to be cut and escaped by whoever writes them out.

    Attributes:
        emoji: one grapheme that stands before the heading.
        heading: the category with its first letter raised, the incident's title, or the event's type.
        text: a description of the category's event, the incident's message; may be empty.
        color: 0 to 0xFFFFFF.
        time_ms: when it happened.
        fields: in the order in which they are shown.
        omitted: how many fields there were beyond these.
        shortened: whether composing cut any text of the event already, ellipsis included.
        images: addresses of pictures; never fetched by Tocsin.
        footer: a line below: where it comes from.
        thread: what the messages of one incident have in common, its id in hex; None for anything else.
        opens_thread: whether this is the incident's first message.
        state: the incident's; None for anything else.
        note: a line of Tocsin's own above all, such as what quiet hours held back; may be empty.
    """

    template: Template
    emoji: str
    heading: str
    text: str
    color: int
    time_ms: int
    fields: tuple[Field, ...] = ()
    omitted: int = 0
    shortened: bool = False
    images: tuple[str, ...] = ()
    footer: str = ""
    thread: str | None = None
    opens_thread: bool = True
    state: IncidentState | None = None
    note: str = ""

    @property
    def time(self) -> str:
        """When it happened, as ``2026-03-06T10:30:00.000Z``; a time that no date can tell is the nearest that can."""
        return rfc3339(min(max(self.time_ms, TIME_MIN_MS), TIME_MAX_MS), milliseconds=True)
