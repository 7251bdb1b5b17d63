"""Events as each format writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.cloudevents import Content, Kept, extension_of
from tocsin.core.destination import Format
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.transports.rendering import header_text, render

DATA = b'{"n": 12345678901234567890.00, "text": "\xc3\xa4"}'


def event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": EventId(bytes.fromhex("019a9c2e51c07abc8def0123456789ab")),
        "organisation_id": DEFAULT_ORGANISATION,
        "dialect": Dialect.PINGPILOT,
        "source": "pingpilot/category/new sale",
        "type": "new sale \u00e4",
        "time_ms": 1_763_719_200_123,
        "data": DATA,
        "subject": "order 1",
    }
    return Event(**{**fields, **changes})


def test_raw_is_the_data_byte_for_byte() -> None:
    rendered = render(event(), Format.RAW)
    assert (rendered.body, rendered.content_type, rendered.headers) == (DATA, "application/json", ())


def test_standard_wraps_type_timestamp_and_data() -> None:
    rendered = render(event(), Format.STANDARD)
    assert rendered.content_type == "application/json"
    assert rendered.body == (
        '{"type":"new sale \u00e4","timestamp":"2025-11-21T10:00:00.123Z","data":'.encode() + DATA + b"}"
    )


def test_structured_cloudevents_have_every_required_attribute() -> None:
    rendered = render(event(), Format.CLOUDEVENTS)
    assert rendered.content_type == "application/cloudevents+json"
    assert rendered.body.endswith(b',"data":' + DATA + b"}")
    assert json.loads(rendered.body) == {
        "specversion": "1.0",
        "id": "evt_019a9c2e51c07abc8def0123456789ab",
        "source": "pingpilot/category/new%20sale",
        "type": "new sale \u00e4",
        "time": "2025-11-21T10:00:00.123Z",
        "subject": "order 1",
        "datacontenttype": "application/json",
        "data": json.loads(DATA),
    }


def test_binary_cloudevents_carry_the_attributes_percent_encoded_in_headers() -> None:
    rendered = render(event(), Format.CLOUDEVENTS_BINARY)
    assert (rendered.body, rendered.content_type) == (DATA, "application/json")
    assert rendered.headers == (
        ("ce-specversion", "1.0"),
        ("ce-id", "evt_019a9c2e51c07abc8def0123456789ab"),
        ("ce-source", "pingpilot/category/new%2520sale"),
        ("ce-type", "new%20sale%20%C3%A4"),
        ("ce-time", "2025-11-21T10:00:00.123Z"),
        ("ce-subject", "order%201"),
    )


@pytest.mark.parametrize("subject", [None, ""])
def test_an_event_without_a_subject_says_none(subject: str | None) -> None:
    assert "subject" not in json.loads(render(event(subject=subject), Format.CLOUDEVENTS).body)
    names = [name for name, _ in render(event(subject=subject), Format.CLOUDEVENTS_BINARY).headers]
    assert "ce-subject" not in names


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("Euro \u20ac \U0001f600", "Euro%20%E2%82%AC%20%F0%9F%98%80"),  # the specification's own example
        ('a"b%c d', "a%22b%25c%20d"),
        ("a\r\nX: y", "a%0D%0AX:%20y"),
        ("order.created-1_2", "order.created-1_2"),
        ("\x7f\0", "%7F%00"),
    ],
)
def test_header_text_is_percent_encoded_as_the_binding_has_it(text: str, encoded: str) -> None:
    assert header_text(text) == encoded


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
)
def test_whatever_an_event_is_called_its_renderings_stay_sound(type_: str, source: str) -> None:
    for form in Format:
        rendered = render(event(type=type_, source=source, subject=source), form)
        json.loads(rendered.body)
        for name, value in rendered.headers:
            assert (name + value).isascii()
            assert (name + value).isprintable()
            assert " " not in value


# -- events that came as CloudEvents -----------------------------------------------------------------------


def cloudevent(kept: Kept, data: bytes = DATA, **changes: Any) -> Event:
    return event(dialect=Dialect.CLOUDEVENTS, data=data, extension=extension_of(kept), source="/a%20b", **changes)


KEPT = Kept(
    id="their id",
    time="2025-11-21T11:00:00.123456789+01:00",
    dataschema="https://example.com/a",
    datacontenttype="application/vnd.a+json",
    extensions={"b": True, "i": -7, "t": "\u00e4 b"},
)


def test_a_cloudevent_leaves_with_all_that_it_came_with() -> None:
    shown = json.loads(render(cloudevent(KEPT), Format.CLOUDEVENTS).body)
    assert shown == {
        "specversion": "1.0",
        "id": "their id",
        "source": "/a%20b",
        "type": "new sale \u00e4",
        "time": "2025-11-21T11:00:00.123456789+01:00",
        "subject": "order 1",
        "dataschema": "https://example.com/a",
        "datacontenttype": "application/vnd.a+json",
        "b": True,
        "i": -7,
        "t": "\u00e4 b",
        "data": json.loads(DATA),
    }
    binary = render(cloudevent(KEPT), Format.CLOUDEVENTS_BINARY)
    assert (binary.body, binary.content_type) == (DATA, "application/vnd.a+json")
    assert dict(binary.headers)["ce-id"] == "their%20id"
    assert [dict(binary.headers)[f"ce-{name}"] for name in "bit"] == ["true", "-7", "%C3%A4%20b"]


def test_a_replay_of_it_has_an_id_of_its_own() -> None:
    replay = cloudevent(KEPT, replay_of=EventId(bytes(16)))
    assert json.loads(render(replay, Format.CLOUDEVENTS).body)["id"] == "evt_019a9c2e51c07abc8def0123456789ab"


@pytest.mark.parametrize(
    ("content", "data", "member", "body"),
    [
        (Content.TEXT, b'"a \\u00e4"', "data", "a \u00e4".encode()),
        (Content.BASE64, b'"AP8="', "data_base64", b"\x00\xff"),
    ],
)
def test_content_that_is_not_json_leaves_as_its_producer_wrote_it(
    content: Content, data: bytes, member: str, body: bytes
) -> None:
    came = cloudevent(Kept(id="1", datacontenttype="a/b", content=content), data)
    shown = json.loads(render(came, Format.CLOUDEVENTS).body)
    assert shown.keys() & {"data", "data_base64"} == {member}
    assert (shown[member], shown["datacontenttype"]) == (json.loads(data), "a/b")
    for form in (Format.CLOUDEVENTS_BINARY, Format.RAW):
        rendered = render(came, form)
        assert (rendered.body, rendered.content_type) == (body, "a/b")
    assert json.loads(render(came, Format.STANDARD).body)["data"] == json.loads(data)


def test_bytes_of_no_named_type_get_none() -> None:
    came = cloudevent(Kept(id="1", content=Content.BASE64), b'"AP8="')
    shown = json.loads(render(came, Format.CLOUDEVENTS).body)
    assert shown["data_base64"] == "AP8="
    assert shown.keys() & {"data", "datacontenttype"} == set()
    binary, raw = (render(came, form) for form in (Format.CLOUDEVENTS_BINARY, Format.RAW))
    assert (binary.body, binary.content_type) == (b"\x00\xff", None)
    assert (raw.body, raw.content_type) == (b"\x00\xff", "application/octet-stream")
    assert json.loads(render(came, Format.STANDARD).body)["data"] == "AP8="


def test_an_event_without_data_says_so_only_where_it_can() -> None:
    came = cloudevent(Kept(id="1", content=Content.NONE), b"null")
    assert json.loads(render(came, Format.CLOUDEVENTS).body).keys() & {"data", "datacontenttype"} == set()
    binary, raw = (render(came, form) for form in (Format.CLOUDEVENTS_BINARY, Format.RAW))
    assert (binary.body, binary.content_type) == (b"", None)
    assert (raw.body, raw.content_type) == (b"null", "application/json")


def test_an_event_with_json_of_no_named_type_is_called_json() -> None:
    came = cloudevent(Kept(id="1"))
    assert json.loads(render(came, Format.CLOUDEVENTS).body)["datacontenttype"] == "application/json"
    assert render(came, Format.CLOUDEVENTS_BINARY).content_type == "application/json"
