"""Edges of JSON on the five ingest routes: one verdict, each in its dialect's own form, and never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from gateway import Answer, Gateway
from tenants import Tenant, as_json, incident, signed, tenant_of
from tocsin.core.identifiers import parse_event_id, prefixed

pytestmark = pytest.mark.acceptance

SLOT = b'"<slot>"'
DIGITS = b"123456789012345678901234567890" * 10


@dataclass(frozen=True, slots=True)
class Ingest:
    """One dialect's way in.

    Attributes:
        document: a request's body, with a slot for a value in its free part.
        send: sends a body.
        is_malformed: whether an answer says, in the dialect's form, that the body is no JSON.
        depth: the level at which the slot's value stands.
        identifier: returns the event's id, from the answer.
    """

    document: bytes
    send: Callable[[bytes], Answer]
    is_malformed: Callable[[Answer], bool]
    depth: int
    identifier: Callable[[Any], str]


def ingests(tenant: Tenant, receiver_url: str) -> dict[str, Ingest]:
    """Return the five ways into an organisation."""
    attrs = incident(tenant.channel(), attrs={"edge": "<slot>"})
    tenant.category()
    endpoint = tenant.endpoint(f"{receiver_url}/endpoint")
    as_is = {"Content-Type": "application/json"}

    def sender(path: str) -> Callable[[bytes], Answer]:
        return lambda body: tenant.ask("POST", path, body, as_is)

    def send_signed(body: bytes) -> Answer:
        return tenant.ask("POST", f"/e/{endpoint['id']}", body, signed(endpoint["secret"], body))

    def tells(name: str, text: str) -> Callable[[Answer], bool]:
        return lambda answer: answer.status == 400 and answer.json[name].startswith(text)

    def is_no_json(answer: Answer) -> bool:
        told = answer.json
        of_a_field = told["message"].startswith(("event ", "payload ", "the body "))
        return answer.status == 400 and told["name"] == "invalid-request" and not of_a_field

    event = {"event": "user.created", "payload": {"edge": "<slot>"}}
    return {
        "pushgo": Ingest(
            as_json(attrs),
            sender("/event/create"),
            tells("error_code", "invalid_json_syntax"),
            3,
            lambda told: told["data"]["event_id"],
        ),
        "pingpilot": Ingest(
            as_json({"category": "bug", "fields": {"edge": "<slot>"}}),
            sender("/api/v1/event"),
            tells("message", "Invalid JSON request body"),
            3,
            lambda told: told["eventId"],
        ),
        "buildable": Ingest(as_json(event), sender("/emit"), is_no_json, 3, lambda told: told["key"]),
        "nativeframe": Ingest(
            as_json({"edge": "<slot>"}),
            sender("/events/v2/projects/shop/events/order-paid"),
            tells("errorCode", "malformed_body"),
            2,
            lambda told: told["id"],
        ),
        "promptjang": Ingest(
            as_json({"event_type": "order.created", "payload": {"edge": "<slot>"}}),
            send_signed,
            tells("detail", "Invalid JSON"),
            3,
            lambda told: told["id"],
        ),
    }


DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe", "promptjang")


@dataclass(frozen=True, slots=True)
class Opened:
    """An organisation with all five ways in, and a webhook that gets what is stored."""

    ways: dict[str, Ingest]
    gateway: Gateway
    path: str

    def delivered(self, way: Ingest, body: bytes) -> bytes:
        """Send a body; return what the webhook gets."""
        answer = way.send(body)
        assert answer.status in (200, 202), answer
        event_id = parse_event_id(way.identifier(answer.json))
        assert event_id is not None
        wanted = prefixed("evt", event_id)

        def bodies() -> list[bytes]:
            arrivals = self.gateway.receiver.arrivals
            here = (each for each in arrivals if each.path == self.path)
            return [each.body for each in here if each.headers["webhook-id"] == wanted]

        self.gateway.receiver.wait_until(lambda: bool(bodies()))
        (found,) = bodies()
        return found


@pytest.fixture(name="opened", scope="module")
def _opened(gateway: Gateway) -> Opened:
    tenant = tenant_of(gateway)
    path = "/json-edges"
    tenant.webhook(gateway.receiver_url + path)
    return Opened(ingests(tenant, gateway.receiver_url), gateway, path)


# -- what is no JSON ---------------------------------------------------------------------------------------

NO_VALUES = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "beyond a double": b"1e400",
    "a plus sign": b"+1",
    "a leading zero": b"01",
    "a leading point": b".5",
    "a trailing point": b"1.",
    "an empty exponent": b"1e",
    "hexadecimal": b"0x1F",
    "Python's truth": b"True",
    "undefined": b"undefined",
    "single quotes": b"'a'",
    "a comment": b"1 /* one */",
    "a line comment": b"1 // one\n",
    "a trailing comma": b"[1,]",
    "a lone high surrogate": rb'"\ud800"',
    "a lone low surrogate": rb'"\udc00"',
    "surrogates the wrong way round": rb'"\udc00\ud800"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "UTF-8 cut short": b'"\xe2\x82"',
    "NUL in a string": b'"a\x00b"',
    "a control character in a string": b'"a\x1fb"',
    "a line break in a string": b'"a\nb"',
    "an unknown escape": rb'"\x41"',
    "an escape cut short": rb'"\u00"',
    "a string without an end": b'"abc',
    "an array without an end": b"[1, 2",
    "a key without quotes": b"{a: 1}",
    "65 levels": b"%(65)s",
    "10,000 levels": b"%(10000)s",
}
NO_DOCUMENTS: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "white space": lambda _: b" \r\n\t",
    "two documents": lambda body: body + body,
    "garbage behind it": lambda body: body + b"x",
    "NUL behind it": lambda body: body + b"\0",
    "a mark of the byte order": lambda body: b"\xef\xbb\xbf" + body,
    "UTF-16": lambda body: body.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda body: body.decode().encode("utf-16-le"),
    "UTF-32": lambda body: body.decode().encode("utf-32"),
    "a form": lambda _: b"title=a&message=b",
    "no-break spaces": lambda body: "\u00a0".encode() + body,
    "cut short": lambda body: body[:-1],
}


def nested(levels: int) -> bytes:
    """Return arrays in arrays."""
    return b"[" * levels + b"]" * levels


def at_slot(way: Ingest, value: bytes) -> bytes:
    """Return a body with a value in its slot; ``%(n)s`` is nested so that the whole has n levels."""
    if value.startswith(b"%("):
        value = nested(int(value[2:-2]) - way.depth + 1)
    return way.document.replace(SLOT, value)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", NO_VALUES.values(), ids=NO_VALUES.keys())
def test_a_value_that_is_no_json_is_malformed_in_every_dialect(opened: Opened, value: bytes, dialect: str) -> None:
    way = opened.ways[dialect]
    answer = way.send(at_slot(way, value))
    assert way.is_malformed(answer), answer


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("change", NO_DOCUMENTS.values(), ids=NO_DOCUMENTS.keys())
def test_a_body_that_is_no_document_is_malformed_in_every_dialect(
    opened: Opened, change: Callable[[bytes], bytes], dialect: str
) -> None:
    way = opened.ways[dialect]
    answer = way.send(change(way.document))
    assert way.is_malformed(answer), answer


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_hundred_thousand_levels_are_refused_and_the_next_request_is_served(opened: Opened, dialect: str) -> None:
    way = opened.ways[dialect]
    answer = way.send(at_slot(way, b"%(100000)s"))
    # 200,000 brackets are more than PushGo takes of anything.
    assert answer.status == 413 if dialect == "pushgo" else way.is_malformed(answer)
    assert way.send(way.document).status in (200, 202)


# -- what is JSON ------------------------------------------------------------------------------------------

SCALARS = {
    "2^63": b"9223372036854775808",
    "2^64": b"18446744073709551616",
    "minus 2^64": b"-18446744073709551616",
    "300 digits": DIGITS,
    "minus zero": b"-0",
    "minus zero as a float": b"-0.0",
    "one as a float": b"1.0",
    "many decimals": b"0.1000000000000000055511151231257827",
    "nearly infinite": b"1.7976931348623157e308",
    "nearly nothing": b"5e-324",
    "less than nothing": b"1e-400",
    "a capital exponent": b"1E+2",
    "NUL escaped": rb'"a\u0000b"',
    "a pair of surrogates": rb'"\ud83d\ude00"',
    "all planes": '"\u00e9\u4e00\U0001f600\U0010ffff"'.encode(),
    "noncharacters": '"\ufffe\uffff"'.encode(),
    "every escape": rb'"\"\\\/\b\f\n\r\t\u00e9"',
    "line separators": '"\u2028\u2029"'.encode(),
    "right to left": '"\u202eabc"'.encode(),
    "a long string": b'"' + b"x" * 20_000 + b'"',
    "true": b"true",
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", SCALARS.values(), ids=SCALARS.keys())
def test_a_value_that_is_json_is_taken_by_every_dialect_and_delivered_as_it_was(
    opened: Opened, value: bytes, dialect: str
) -> None:
    way = opened.ways[dialect]
    delivered = opened.delivered(way, at_slot(way, value))
    assert slot_of(delivered) == json.loads(value)
    assert value in delivered, "the text is another one"


@pytest.mark.parametrize("dialect", ["buildable", "nativeframe", "promptjang"])
@pytest.mark.parametrize(
    "value",
    [
        b"%(64)s",
        b"null",
        b"{}",
        b"[]",
        b'{"": {"": []}}',
        b"[" + b",".join([b"[1,[2]]"] * 500) + b"]",
        b'{"a":1,"a":2}',
        b'{"a" : 1 ,\r\n\t"b" : [ ] }',
    ],
    ids=lambda value: value.decode()[:20],
)
def test_a_payload_of_any_shape_is_delivered_byte_for_byte(opened: Opened, value: bytes, dialect: str) -> None:
    way = opened.ways[dialect]
    body = at_slot(way, value)
    delivered = opened.delivered(way, body)
    assert delivered in body
    assert body[body.index(b'"edge"') :].rstrip(b"}") in delivered


@pytest.mark.parametrize("dialect", DIALECTS)
def test_of_two_members_of_one_name_the_last_counts(opened: Opened, dialect: str) -> None:
    way = opened.ways[dialect]
    # Each first value would be refused, and each second one is right.
    firsts = {
        "pushgo": (b'{"severity": 7, ', b"{"),
        "pingpilot": (b'{"category": 7, ', b"{"),
        "buildable": (b'{"event": 7, "payload": 7, ', b"{"),
        "nativeframe": (b'{"edge": 7, ', b"{"),
        "promptjang": (b'{"event_type": "no good type", ', b"{"),
    }
    wrong_first, plain = firsts[dialect]
    assert way.document.startswith(plain)
    assert way.send(way.document.replace(plain, wrong_first, 1)).status in (200, 202)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b'"text"', b"true"])
def test_a_document_that_is_no_object_is_json_all_the_same(opened: Opened, body: bytes, dialect: str) -> None:
    way = opened.ways[dialect]
    answer = way.send(body)
    if dialect in ("nativeframe", "promptjang"):
        assert answer.status in (202, 400)
    else:
        assert 400 <= answer.status < 500
    assert not way.is_malformed(answer), answer


def slot_of(body: bytes) -> object:
    """Return the slot's value, wherever a dialect keeps it."""
    value = json.loads(body)
    for member in ("attrs", "fields", "payload"):
        value = value.get(member, value)
    return value["edge"]
