"""What of an event people are told."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.core.incident import Incident, IncidentState
from tocsin.transports.messages import bounded, composing
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.message import Message, Template
from tocsin.transports.messages.telegram import telegram_texts
from transports.messages.samples import EVENT_ID, TIME_MS, event

OTHER_ID = EventId(bytes.fromhex("019a9c2f00007abc8def0123456789ab"))


def told(fields: Any, **body: Any) -> Message:
    return compose(event(data=msgspec.json.encode({"category": "bug", "fields": fields, **body})), None)


def pairs(shown: Message) -> list[tuple[str, str]]:
    return [(field.name, field.value) for field in shown.fields]


def plain(data: bytes, **changes: Any) -> Message:
    return compose(
        event(**{"dialect": Dialect.BUILDABLE, "type": "t", "extension": {}, "data": data, **changes}), None
    )


def pushgo(**changes: Any) -> Event:
    return event(**{"dialect": Dialect.PUSHGO, "type": "event.created", "extension": {}, "data": b"{}", **changes})


def incident(**changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": EVENT_ID,
        "organisation_id": DEFAULT_ORGANISATION,
        "channel": "c",
        "state": IncidentState.ONGOING,
        "opened_ms": TIME_MS,
        "updated_ms": TIME_MS,
    }
    return Incident(**{**fields, **changes})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "A new bug event has occurred!"),
        ({"description": ""}, "A new bug event has occurred!"),
        ({"description": " "}, " "),
        ({"description": "It broke"}, "It broke"),
    ],
)
def test_an_absent_or_empty_description_is_the_default(body: dict[str, Any], text: str) -> None:
    assert told({}, **body).text == text


def test_a_category_brings_its_colour_and_emoji() -> None:
    shown = told({})
    assert (shown.template, shown.emoji, shown.heading, shown.color) == (
        Template.CATEGORY,
        "\U0001f41b",
        "Bug",
        0xFF0000,
    )
    bare = compose(event(type="2-fa", extension={"color": 1, "emoji": None}), None)
    assert (bare.emoji, bare.heading) == ("\U0001f514", "2-fa")


def test_fields_stand_as_javascript_lists_and_prints_them() -> None:
    data = b'{"category":"bug","fields":{"b":99.990,"10":true,"a":1e21,"2":-0,"__proto__":"kept"}}'
    assert pairs(compose(event(data=data), None)) == [
        ("2", "0"), ("10", "true"), ("b", "99.99"), ("a", "1e+21"), ("__proto__", "kept"),
    ]  # fmt: skip


def test_fields_beyond_the_most_are_counted() -> None:
    shown = told({f"k{number}": number for number in range(bounded.FIELDS_MAX + 7)})
    assert len(shown.fields) == bounded.FIELDS_MAX
    assert shown.omitted == 7


def test_members_of_other_data_beyond_the_most_are_counted() -> None:
    shown = plain(json.dumps({f"k{number}": 1 for number in range(bounded.FIELDS_MAX + 5)}).encode(), subject="s")
    assert pairs(shown)[:2] == [("Subject", "s"), ("k0", "1")]
    assert (len(shown.fields), shown.omitted) == (bounded.FIELDS_MAX, 6)


def test_very_many_fields_stay_in_the_order_of_writing() -> None:
    shown = told({str(number): "v" for number in range(composing.FIELDS_ORDERED_MAX, -1, -1)})
    assert shown.fields[0].name == str(composing.FIELDS_ORDERED_MAX)
    assert shown.omitted == composing.FIELDS_ORDERED_MAX + 1 - bounded.FIELDS_MAX


def test_long_texts_are_bounded_and_marked() -> None:
    most = bounded.TEXT_CHARACTERS_MAX
    whole = told({"a": "v" * most}, description="d" * most)
    assert (len(whole.text), len(whole.fields[0].value), whole.shortened) == (most, most, False)
    assert told({}, description="d" * (most + 1)).text == "d" * (most - 1) + "\u2026"
    for shown in (told({"a": "v" * (most + 1)}), told({"n" * 1025: "v"}), told({}, description="d" * (most + 1))):
        assert shown.shortened


def test_an_event_lies_over_what_is_known_of_its_incident() -> None:
    known = incident(
        profile={
            "title": "Old",
            "message": "old",
            "status": "new",
            "severity": "low",
            "tags": ["a"],
            "images": ["i"],
        },
        attrs={"kept": 1, "patched": {"a": 1, "b": 2}, "gone": "x"},
    )
    own = {
        "message": "now",
        "severity": "critical",
        "tags": '["b","c"]',
        "attrs": '{"patched":{"a":null,"c":1.50},"gone":null}',
    }
    shown = compose(pushgo(id=OTHER_ID, type="event.updated", subject=EVENT_ID.hex(), extension=own), known)
    assert (shown.heading, shown.text, shown.emoji, shown.images) == ("Update: Old", "now", "\U0001f534", ("i",))
    assert pairs(shown) == [
        ("State", "ongoing"),
        ("Status", "new"),
        ("Severity", "critical"),
        ("Tags", "b, c"),
        ("kept", "1"),
        ("patched.b", "2"),
        ("patched.c", "1.5"),
    ]
    assert (shown.thread, shown.opens_thread, shown.state) == (EVENT_ID.hex(), False, IncidentState.ONGOING)
    assert known.attrs["gone"] == "x"


def test_the_first_message_of_an_incident_opens_its_thread() -> None:
    shown = compose(pushgo(), incident())
    assert (shown.thread, shown.opens_thread) == (EVENT_ID.hex(), True)
    assert shown.heading == f"Event {EVENT_ID.hex()}"


@pytest.mark.parametrize(
    ("kind", "state", "told_state", "emoji", "color"),
    [
        ("event.created", IncidentState.ONGOING, "ongoing", "\U0001f7e0", 0xE67E22),
        ("event.closed", IncidentState.CLOSED, "closed", "\u2705", 0x2ECC71),
        ("event.updated", IncidentState.CLOSED, "closed", "\u2705", 0x2ECC71),
        ("event.closed", None, "closed", "\u2705", 0x2ECC71),
        ("event.updated", None, "ongoing", "\U0001f7e0", 0xE67E22),
    ],
)
def test_state_decides_over_severity(
    kind: str, state: IncidentState | None, told_state: str, emoji: str, color: int
) -> None:
    shown = compose(pushgo(type=kind, incident_state=state, extension={"severity": "high"}), incident())
    assert (shown.fields[0].value, shown.emoji, shown.color) == (told_state, emoji, color)


def test_the_time_of_the_end_is_told_once_it_has_ended() -> None:
    known = incident(profile={"started_at": TIME_MS, "ended_at": TIME_MS + 61_000})
    closed = pairs(compose(pushgo(type="event.closed"), known))
    assert ("Started", "2026-03-06 10:30:00 UTC") in closed
    assert ("Ended", "2026-03-06 10:31:01 UTC") in closed
    assert "Ended" not in dict(pairs(compose(pushgo(type="event.updated"), known)))


def test_message_and_description_that_say_the_same_are_told_once() -> None:
    both = {"message": "same", "description": "same"}
    assert compose(pushgo(extension=both), None).text == "same"


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_has_its_colour(severity: Severity) -> None:
    shown = plain(b"{}", severity=severity)
    assert pairs(shown) == [("Severity", severity.value)]
    assert (shown.emoji, shown.color) != ("\U0001f514", 0x607D8B)
    assert compose(pushgo(extension={"severity": severity.value}), None).color == shown.color


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"[1, 2.50]", "[1,2.50]"),
        (b'"a \\u00e4\\n"', "a \u00e4\n"),
        (b"12345678901234567890.0", "12345678901234567890.0"),
        (b"null", "null"),
        (b"{ }", ""),
        (b"\xff\x00 no JSON", "\ufffd\x00 no JSON"),
        (b"", ""),
    ],
)
def test_data_that_are_no_object_are_told_as_text(data: bytes, text: str) -> None:
    shown = plain(data)
    assert (shown.text, shown.fields) == (text, ())


def test_large_data_are_not_taken_apart() -> None:
    data = json.dumps({"a": "b" * composing.DATA_READ_BYTES_MAX}).encode()
    shown = plain(data)
    assert shown.fields == ()
    assert shown.text == '{"a": "' + "b" * (composing.DATA_SHOWN_BYTES - 7) + "\u2026"
    assert shown.shortened
    assert discord_payload(shown).truncated


def test_deep_data_are_told_all_the_same() -> None:
    deep = b"[" * 5000 + b"]" * 5000
    for shown in (plain(deep), plain(b'{"a":' + deep + b"}"), compose(event(data=deep), None)):
        telegram_texts(shown)
        discord_payload(shown)


def test_a_broken_extension_tells_less_and_raises_nothing() -> None:
    broken = {
        "tags": "[",
        "images": 5,
        "attrs": "[]",
        "metadata": [1],
        "started_at": "x",
        "title": 7,
        "severity": "odd",
    }
    shown = compose(pushgo(extension=broken), incident(profile={"tags": "a", "ended_at": True}))
    assert pairs(shown) == [("State", "ongoing"), ("Severity", "odd")]
    category = compose(event(extension={"color": "red", "emoji": 5}, data=b"[]"), None)
    assert (category.color, category.emoji) == (0, "\U0001f514")


@pytest.mark.parametrize("at_ms", [-(10**18), 10**18])
def test_a_time_that_no_date_can_tell_is_the_nearest_that_can(at_ms: int) -> None:
    shown = compose(event(time_ms=at_ms), None)
    assert shown.time == ("0001-01-01T00:00:00.000Z" if at_ms < 0 else "9999-12-31T23:59:59.999Z")
    closed = compose(pushgo(type="event.closed", time_ms=at_ms, extension={"ended_at": str(at_ms)}), None)
    assert dict(pairs(closed))["Ended"] == shown.time[:19].replace("T", " ") + " UTC"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=12,
)


@given(
    st.sampled_from(Dialect),
    st.sampled_from(["message", "event.created", "event.updated", "event.closed", "tocsin.test"]),
    st.binary(max_size=60) | _VALUES.map(msgspec.json.encode),
    st.dictionaries(st.sampled_from(["tags", "images", "attrs", "metadata", "title", "color", "emoji"]), _VALUES),
    st.none() | st.dictionaries(st.sampled_from(["tags", "title", "metadata", "severity", "started_at"]), _VALUES),
)
def test_nothing_raises(
    dialect: Dialect, kind: str, data: bytes, extension: dict[str, Any], profile: dict[str, Any] | None
) -> None:
    known = None if profile is None else incident(profile=profile, attrs=profile)
    shown = compose(event(dialect=dialect, type=kind, data=data, extension=extension), known)
    msgspec.json.encode(discord_payload(shown).body)
    assert telegram_texts(shown).texts
