"""CloudEvents as they are read: attributes, header values, and what becomes of data that are not JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.cloudevents import Content, Kept
from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.dialects.native.cloudevents_attributes import CloudEvent
from tocsin.dialects.native.cloudevents_body import batch, binary, structured
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.transports.rendering import header_text

LIMITS = CloudEventsLimits()
LEAST: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
PAIRS = [(f"ce-{name}".encode(), value.encode()) for name, value in LEAST.items()]


def read(**members: Any) -> CloudEvent:
    return structured(json.dumps({**LEAST, **members}).encode(), LIMITS)


def received(body: bytes = b"", content_type: str | None = None, **headers: str | bytes) -> CloudEvent:
    given = {**LEAST, **headers}
    pairs = [
        (f"ce-{name}".encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in given.items()
    ]
    return binary(pairs, content_type, body, LIMITS)


def faults(**members: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as caught:
        read(**members)
    return list(caught.value.fields)


# -- attributes --------------------------------------------------------------------------------------------


def test_the_least_that_there_must_be() -> None:
    event = read()
    assert event == CloudEvent(
        source="s", type="t", subject=None, time_ms=None, kept=Kept(id="1", content=Content.NONE), data=b"null"
    )
    assert received() == event


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_each_required_attribute_must_be_there_and_not_null_or_empty(name: str) -> None:
    assert faults(**{name: None}) == [(name, "is required")]
    ((where, _),) = faults(**{name: ""})
    assert where == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1.0),
        ("id", 7),
        ("id", "a\nb"),
        ("id", "a\u0085"),
        ("id", "\ufdd0"),
        ("id", "\U0001ffff"),
        ("id", "x" * 1025),
        ("source", "a b"),
        ("source", "\u00e4"),
        ("source", "a%zz"),
        ("source", "a%2"),
        ("source", "<a>"),
        ("type", ["t"]),
        ("subject", ""),
        ("subject", "\x7f"),
        ("dataschema", "schema.json"),
        ("dataschema", "a/b:c"),
        ("dataschema", "https://example.com/a b"),
        ("datacontenttype", "json"),
        ("datacontenttype", "application/"),
        ("datacontenttype", "/json"),
        ("datacontenttype", "text/pl ain"),
        ("datacontenttype", "text/plain; charset=\u00e4"),
        ("time", "2018-04-05"),
        ("time", "2018-04-05T17:31:00"),
        ("time", "2018-04-05 17:31:00Z"),
        ("time", "2018-W14-4T17:31:00Z"),
        ("time", "2018-04-05T17:31:00,5Z"),
        ("time", "2018-04-05T17:31Z"),
        ("time", "2018-04-05T17:31:00+0100"),
        ("time", "2018-13-05T17:31:00Z"),
        ("time", "0001-01-01T00:00:00+01:00"),
        ("time", 1522949460),
        ("ext", 1.5),
        ("ext", 2**31),
        ("ext", -(2**31) - 1),
        ("ext", {}),
        ("ext", []),
        ("ext", "a\x00"),
        ("Ext", "x"),
        ("my-ext", "x"),
        ("\u00e4", "x"),
        ("", "x"),
        ("x" * 65, "x"),
    ],
)
def test_a_value_that_is_none_is_refused_at_its_place(name: str, value: Any) -> None:
    ((where, _),) = faults(**{name: value})
    assert where == name[:64]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "/a/b?c=d#e"),
        ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
        ("source", "a%20b"),
        ("id", "\u00e4 \U0001f600"),
        ("dataschema", "https://example.com/schema"),
        ("datacontenttype", "application/vnd.x+json; charset=UTF-8"),
    ],
)
def test_what_the_specification_allows_is_taken(name: str, value: str) -> None:
    event = read(**{name: value})
    assert value in (event.source, event.kept.id, event.kept.dataschema, event.kept.datacontenttype)


@pytest.mark.parametrize(
    ("time", "time_ms"),
    [
        ("2018-04-05T17:31:00Z", 1_522_949_460_000),
        ("2018-04-05t17:31:00z", 1_522_949_460_000),
        ("2018-04-05T17:31:00.123456789Z", 1_522_949_460_123),
        ("2018-04-05T19:31:00+02:00", 1_522_949_460_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_time_is_read_and_kept_as_it_was_written(time: str, time_ms: int) -> None:
    event = read(time=time)
    assert (event.time_ms, event.kept.time) == (time_ms, time)


def test_extensions_keep_their_types_and_null_is_none() -> None:
    event = read(a="x", b=True, c=-(2**31), d=None, e="")
    assert event.kept.extensions == {"a": "x", "b": True, "c": -(2**31), "e": ""}


def test_all_faults_are_told_at_once() -> None:
    assert [name for name, _ in faults(id=1, time="now", X="x")] == ["id", "time", "X"]


# -- headers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u20ac \U0001f600"),
        ("%e2%82%ac", "\u20ac"),
        ("%41%42", "AB"),
        ("100%", "100%"),
        ("%2520", "%20"),
        ('"quoted"', "quoted"),
        ('"a \\"b\\" \\\\ c"', 'a "b" \\ c'),
        ('"%20"', " "),
        ('"', '"'),
        ('a"b"', 'a"b"'),
        ("\u00e4", "\u00e4"),
    ],
)
def test_a_header_s_value_is_taken_out_of_its_quotes_and_decoded_once(header: str, value: str) -> None:
    assert received(subject=header).subject == value


@pytest.mark.parametrize("header", [b"%C0%A0", b"%FF", b"\xff", b"%ED%A0%80"])
def test_what_is_no_utf_8_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        received(subject=header)
    assert caught.value.fields == (("ce-subject", "must be percent-encoded UTF-8"),)


@pytest.mark.parametrize(("name", "shown"), [("my_ext", "ce-my_ext"), ("data", "ce-data"), ("", "ce-")])
def test_a_header_that_names_no_attribute_is_refused(name: str, shown: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        binary([*PAIRS, (f"ce-{name}".encode(), b"x")], None, b"", LIMITS)
    assert [where for where, _ in caught.value.fields] == [shown]


def test_a_header_may_stand_there_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        binary([*PAIRS, (b"ce-id", b"2")], None, b"", LIMITS)
    assert caught.value.fields == (("ce-id", "is there twice"),)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1, max_size=50))
def test_what_we_write_into_a_header_is_read_again(text: str) -> None:
    assert received(subject=header_text(text)).subject == text


# -- data --------------------------------------------------------------------------------------------------


def test_json_is_kept_byte_for_byte() -> None:
    data = b'{ "n" : 1.50, "big": 12345678901234567890123 , "a": "\\u00e4" }'
    head = json.dumps(LEAST).encode()[:-1]
    for event in (structured(head + b', "data":' + data + b"}", LIMITS), received(data, "application/json")):
        assert (event.data, event.kept.content) == (data, Content.JSON)
    assert received(data).data == data
    (one,) = batch(b"[" + head + b', "data":' + data + b"}]", LIMITS)
    assert one.data == data
    assert read(data_base64=b64encode(data).decode()).data == data


def test_null_is_data_and_no_data_is_none() -> None:
    assert read(data=None).kept.content is Content.JSON
    assert received(b"null").kept.content is Content.JSON
    assert (read().kept.content, read().data) == (Content.NONE, b"null")
    assert read(data_base64=None).kept.content is Content.NONE


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "image/svg+xml", "TEXT/CSV; header=no"])
def test_text_is_a_json_string_in_every_mode(content_type: str) -> None:
    text = 'a "b" \u00e4\n'
    events = [
        received(text.encode(), content_type),
        read(datacontenttype=content_type, data=text),
        read(datacontenttype=content_type, data_base64=b64encode(text.encode()).decode()),
    ]
    for event in events:
        assert (json.loads(event.data), event.kept.content) == (text, Content.TEXT)
    assert len({event.fingerprint() for event in events}) == 1


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("application/octet-stream", b"\x00\xff"), ("text/plain; charset=iso-8859-1", b"\xe4"), ("image/png", b"text")],
)
def test_all_else_is_base64_in_every_mode(content_type: str, content: bytes) -> None:
    encoded = b64encode(content).decode()
    events = [received(content, content_type), read(datacontenttype=content_type, data_base64=encoded)]
    for event in events:
        assert (json.loads(event.data), event.kept.content) == (encoded, Content.BASE64)
    assert events[0].fingerprint() == events[1].fingerprint()


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"data": 1, "data_base64": "AA=="}, "data_base64"),
        ({"data_base64": 1}, "data_base64"),
        ({"data_base64": "a"}, "data_base64"),
        ({"data_base64": "AA==\n", "datacontenttype": "image/png"}, "data_base64"),
        ({"data_base64": "__8=", "datacontenttype": "image/png"}, "data_base64"),
        ({"data_base64": "\u00e4\u00e4\u00e4\u00e4"}, "data_base64"),
        ({"data_base64": b64encode(b"no json").decode(), "datacontenttype": "application/json"}, "data_base64"),
        ({"data_base64": "", "datacontenttype": "application/json"}, "data_base64"),
        ({"data": {}, "datacontenttype": "text/plain"}, "data"),
        ({"data": None, "datacontenttype": "text/plain"}, "data"),
    ],
)
def test_data_that_are_not_what_they_say_are_refused(members: dict[str, Any], where: str) -> None:
    assert [name for name, _ in faults(**members)] == [where]


@pytest.mark.parametrize("content", [b"no json", b"\x00\xff", b"NaN", b"[" * 65 + b"]" * 65])
def test_bytes_of_no_named_type_are_kept_as_they_are_in_every_mode(content: bytes) -> None:
    encoded = b64encode(content).decode()
    events = [received(content), read(data_base64=encoded)]
    for event in events:
        assert (json.loads(event.data), event.kept.content) == (encoded, Content.BASE64)
        assert event.kept.datacontenttype is None
    assert events[0].fingerprint() == events[1].fingerprint()


def test_no_bytes_in_base64_are_data_too() -> None:
    event = read(data_base64="")
    assert (event.data, event.kept.content) == (b'""', Content.BASE64)


def test_bytes_of_no_named_type_that_read_as_json_are_json_in_every_mode() -> None:
    content = b'{"a": [1]}'
    events = [received(content), read(data_base64=b64encode(content).decode())]
    for event in events:
        assert (event.data, event.kept.content) == (content, Content.JSON)
    assert events[0].fingerprint() == events[1].fingerprint()


@pytest.mark.parametrize("content_type", ["application/json", "application/vnd.x+json"])
def test_binary_data_that_are_to_be_json_must_be(content_type: str) -> None:
    with pytest.raises(MalformedBody):
        received(b"NaN", content_type)


# -- batches and repeats -----------------------------------------------------------------------------------


def test_a_batch_with_many_faults_is_not_read_to_its_end() -> None:
    with pytest.raises(InvalidRequest) as caught:
        batch(json.dumps([{}] * 256).encode(), LIMITS)
    assert caught.value.fields[0] == ("[0].specversion", "is required")
    assert 100 <= len(caught.value.fields) < 110


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "u"},
        {"subject": "s"},
        {"time": "2018-04-05T17:31:00Z"},
        {"dataschema": "a:b"},
        {"datacontenttype": "application/x+json"},
        {"ext": "x"},
        {"data": 1},
        {"data": None},
    ],
)
def test_whatever_differs_makes_it_another_event(changed: dict[str, Any]) -> None:
    assert read(**changed).fingerprint() != read().fingerprint()


def test_the_mode_makes_no_difference_to_a_repeat() -> None:
    members = {"subject": "\u00e4", "time": "2018-04-05T17:31:00Z", "b": True, "i": 7}
    headers = {"subject": "%C3%A4", "time": "2018-04-05T17:31:00Z", "i": "7", "b": "true"}
    assert read(data=[1], **members).fingerprint() == received(b"[1]", "application/json", **headers).fingerprint()
