"""Events and messages for the tests of what people are told."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.core.incident import IncidentState
from tocsin.transports.messages.message import Field, Message, Template

EVENT_ID = EventId(bytes.fromhex("019a9c2e51c07abc8def0123456789ab"))
TIME_MS = 1_772_793_000_000
"""2026-03-06T10:30:00Z, the time of PingPilot's own example."""
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1e9\U0001f1ea"
AWKWARD = (
    FAMILY,
    FLAG,
    "e\u0301",
    "\U0001f44d\U0001f3fd",
    "1\ufe0f\u20e3",
    "\u0915\u094d\u0937\u093f",
    "\u1112\u1161\u11ab",
)
"""Each is one character to a reader: joined, flag, accent, skin tone, keycap, conjunct, jamo."""


def event(**changes: Any) -> Event:
    """Return an event of PingPilot's category ``bug`` with these changes."""
    fields: dict[str, Any] = {
        "id": EVENT_ID,
        "organisation_id": DEFAULT_ORGANISATION,
        "dialect": Dialect.PINGPILOT,
        "source": "pingpilot/category/bug",
        "type": "bug",
        "time_ms": TIME_MS,
        "data": b'{"category":"bug"}',
        "extension": {"color": 0xFF0000, "emoji": "\U0001f41b"},
    }
    return Event(**{**fields, **changes})


def message(**changes: Any) -> Message:
    """Return the message of a category's event with these changes."""
    fields: dict[str, Any] = {
        "template": Template.CATEGORY,
        "emoji": "\U0001f41b",
        "heading": "Bug",
        "text": "text",
        "color": 0xFF0000,
        "time_ms": TIME_MS,
    }
    return Message(**{**fields, **changes})


def texts(size_max: int) -> st.SearchStrategy[str]:
    """Return texts of which many are long, joined, invisible or made of signs."""
    pieces = st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            [
                *AWKWARD,
                "\n",
                "\r\n",
                " ",
                "\u200b",
                "\x00",
                "\ud83d",
                "\u202e",
                "**",
                "_",
                "\\",
                "@everyone",
                "<@1>",
                "](",
                "a" * 70,
            ]
        ),
        st.just("\n\U0001f539 forged: line"),
    )
    repeated = st.tuples(pieces, st.integers(1, max(size_max, 1))).map(lambda pair: (pair[0] * pair[1])[:size_max])
    return st.one_of(pieces, repeated, st.lists(repeated, max_size=4).map("".join))


def messages() -> st.SearchStrategy[Message]:
    """Return messages of every kind, most of them beyond some limit."""
    fields = st.builds(Field, name=texts(600), value=texts(2500))
    many = st.tuples(fields, st.integers(0, 400)).map(lambda pair: (pair[0],) * pair[1])
    return st.builds(
        Message,
        template=st.sampled_from(Template),
        emoji=st.sampled_from(["\U0001f514", FAMILY, ""]),
        heading=texts(700),
        text=texts(24_000),
        color=st.integers(0, 0xFFFFFF),
        time_ms=st.integers(-(10**15), 10**15),
        fields=st.one_of(st.lists(fields, max_size=8).map(tuple), many),
        omitted=st.integers(0, 10**6),
        images=st.lists(st.one_of(texts(300), st.just("https://example.com/a.png")), max_size=32).map(tuple),
        footer=texts(300),
        state=st.sampled_from([None, *IncidentState]),
        note=texts(3000),
    )
