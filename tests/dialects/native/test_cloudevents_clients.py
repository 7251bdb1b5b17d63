"""The public CloudEvents library sends to the gateway, and reads what a receiver got from it."""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

from gateway import Answer, Arrival, Gateway
from streams import listening

PATH = "/api/v1/cloudevents"
PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
FORMATS = ("cloudevents", "cloudevents_binary")


@pytest.fixture
def key(gateway: Gateway) -> str:
    return gateway.new_organisation()["key"]


def destination(gateway: Gateway, key: str, form: str, **wanted: Any) -> str:
    """Make a destination of this format; return the path at the receiver where its events arrive."""
    path = f"/{uuid.uuid4().hex}"
    address = {"url": gateway.receiver_url + path}
    body = {"name": form, "transport": "webhook", "address": address, "format": form, "filter": wanted}
    assert gateway.process.request("POST", "/api/v1/destinations", body, key=key).status == 201
    return path


def event(data: Any = None, **attributes: Any) -> CloudEvent:
    given = {"id": "order 1 \u20ac", "source": "/orders/berlin", "type": "com.example.order", **attributes}
    return CloudEvent(
        {"specversion": "1.0", "time": datetime(2026, 5, 26, 12, 0, 0, 123456, tzinfo=UTC), **given}, data
    )


def send(gateway: Gateway, key: str, message: HTTPMessage) -> Answer:
    answer = gateway.process.request("POST", PATH, message.body, key=key, headers=message.headers)
    assert answer.status == 202, answer.body
    return answer


def arrived(gateway: Gateway, path: str) -> Arrival:
    (arrival,) = gateway.receiver.wait_for(1, path=path)
    return arrival


def understood(arrival: Arrival) -> CloudEvent:
    found = from_http_event(HTTPMessage(arrival.headers, arrival.body))
    assert isinstance(found, CloudEvent)
    return found


CONTENTS = [
    ({"amount": 1.5, "items": [1, 2]}, "application/json"),
    ({"a": "\u00e4"}, "application/vnd.order+json"),
    ("a text, \u00e4 and \u20ac", "text/plain"),
    ("<order/>", "application/xml"),
    (PNG, "image/png"),
    (PNG, "application/octet-stream"),
    (PNG, None),
    (None, None),
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
@pytest.mark.parametrize(("data", "content_type"), CONTENTS)
def test_an_event_leaves_as_it_came(
    gateway: Gateway, key: str, form: str, write: Any, data: Any, content_type: str | None
) -> None:
    path = destination(gateway, key, form)
    attributes = {"subject": "no. 7 \u00e4%", "dataschema": "https://example.com/a", "tenant": "gold \u20ac"}
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    sent = event(data, **attributes)
    send(gateway, key, write(sent))
    got = understood(arrived(gateway, path))
    assert got.get_data() == data
    assert got.get_attributes() == sent.get_attributes()


@pytest.mark.parametrize("form", FORMATS)
def test_extensions_keep_their_types_where_the_format_has_types(gateway: Gateway, key: str, form: str) -> None:
    path = destination(gateway, key, form)
    send(gateway, key, to_structured_event(event({"a": 1}, retries=3, final=True)))
    got = understood(arrived(gateway, path))
    typed = form == "cloudevents"
    assert got.get_extension("retries") == (3 if typed else "3")
    assert got.get_extension("final") == (True if typed else "true")


def test_a_batch_of_the_library_s_events_is_stored_whole(gateway: Gateway, key: str) -> None:
    path = destination(gateway, key, "cloudevents")
    sent = [event({"n": number}, id=str(number)) for number in range(100)]
    body = b"[" + b",".join(to_structured_event(each).body for each in sent) + b"]"
    answer = send(gateway, key, HTTPMessage({"Content-Type": "application/cloudevents-batch+json"}, body))
    assert len(set(answer.json["event_ids"])) == 100
    got = [understood(each) for each in gateway.receiver.wait_for(100, path=path)]
    assert sorted(each.get_id() for each in got) == sorted(each.get_id() for each in sent)
    again = send(gateway, key, HTTPMessage({"Content-Type": "application/cloudevents-batch+json"}, body))
    assert again.json == answer.json


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        ({"a": 1}, "application/json", b'{"a": 1}'),
        ("a text", "text/plain", b"a text"),
        (PNG, "image/png", PNG),
        (PNG, None, PNG),
    ],
)
def test_raw_is_the_data_as_their_producer_wrote_them(
    gateway: Gateway, key: str, data: Any, content_type: str | None, body: bytes
) -> None:
    path = destination(gateway, key, "raw")
    named = {} if content_type is None else {"datacontenttype": content_type}
    send(gateway, key, to_binary_event(event(data, **named)))
    arrival = arrived(gateway, path)
    assert (arrival.body, arrival.headers["content-type"]) == (body, content_type or "application/octet-stream")


def test_without_data_raw_and_standard_say_null(gateway: Gateway, key: str) -> None:
    paths = [destination(gateway, key, form) for form in ("raw", "standard")]
    send(gateway, key, to_binary_event(event()))
    raw, standard = (arrived(gateway, path) for path in paths)
    assert (raw.body, raw.headers["content-type"]) == (b"null", "application/json")
    assert json.loads(standard.body) == {
        "type": "com.example.order",
        "timestamp": "2026-05-26T12:00:00.123Z",
        "data": None,
    }


def test_a_replay_is_a_new_event_for_its_receivers(gateway: Gateway, key: str) -> None:
    path = destination(gateway, key, "cloudevents_binary")
    event_id = send(gateway, key, to_structured_event(event({"a": 1}, tenant="gold"))).json["event_id"]
    answer = gateway.process.request("POST", f"/api/v1/events/{event_id}/replay", key=key)
    first, second = (understood(each) for each in gateway.receiver.wait_for(2, path=path))
    assert first.get_id() == "order 1 \u20ac"
    assert second.get_id() != first.get_id()
    assert second.get_id() in answer.body.decode()
    assert second.get_extension("tenant") == "gold"


@pytest.mark.parametrize("form", FORMATS)
def test_what_came_by_another_dialect_is_a_sound_cloudevent(gateway: Gateway, key: str, form: str) -> None:
    path = destination(gateway, key, form, types=["user.*"], dialects=["buildable"])
    payload = {"id": 7, "name": "J\u00f6rg"}
    for name in ("ignored", "user.created"):
        body = {"event": name, "payload": payload}
        answer = gateway.process.request("POST", "/emit", body, headers={"X-Buildable-Secret": key})
        assert answer.status == 200
    got = understood(arrived(gateway, path))
    assert got.get_data() == payload
    assert (got.get_source(), got.get_datacontenttype()) == ("buildable", "application/json")
    assert got.get_type().startswith("user.created")
    assert gateway.process.request("GET", "/api/v1/deliveries", key=key).json["total"] == 1
    assert got.get_id().startswith("evt_")
    assert got.get_time() is not None


def test_every_part_of_a_filter_narrows(gateway: Gateway, key: str) -> None:
    wanted = {
        "dialects": ["cloudevents"],
        "sources": ["/orders/*"],
        "types": ["*.order.paid", "*.order.refunde?"],
        "subjects": ["berlin-[0-9]"],
        "where": "amount > `100`",
    }
    path = destination(gateway, key, "cloudevents", **wanted)
    passing: dict[str, Any] = {"source": "/orders/1", "type": "com.order.paid", "subject": "berlin-7"}
    refused: list[dict[str, Any]] = [
        {"source": "/orderz/1"},
        {"type": "com.order.refundeded"},
        {"subject": "berlin-77"},
        {"subject": "Berlin-7"},
    ]
    for number, changed in enumerate(refused):
        send(gateway, key, to_binary_event(event({"amount": 500}, **{**passing, **changed, "id": f"no{number}"})))
    send(gateway, key, to_binary_event(event({"amount": 100}, **passing, id="little")))
    send(gateway, key, to_binary_event(event({"amount": 101}, **{**passing, "type": "com.order.refunded"}, id="yes")))
    assert understood(arrived(gateway, path)).get_id() == "yes"
    assert gateway.process.request("GET", "/api/v1/deliveries", key=key).json["total"] == 1


def test_severities_narrow_what_has_one(gateway: Gateway, key: str) -> None:
    path = destination(gateway, key, "cloudevents", severities=["high", "critical"])
    request = gateway.process.request
    channel = request("POST", "/api/v1/channels", {"name": "ops", "password": "pass-1234"}, key=key).json["id"]
    for severity in ("low", "critical"):
        body = {
            "channel_id": channel,
            "password": "pass-1234",
            "title": severity,
            "status": "ongoing",
            "message": "m",
            "severity": severity,
            "event_time": 1713750000,
        }
        assert request("POST", "/event/create", body, key=key).status == 200
    send(gateway, key, to_binary_event(event({"a": 1})))
    got = understood(arrived(gateway, path))
    data = got.get_data()
    assert isinstance(data, dict)
    assert data["severity"] == "critical"
    assert got.get_source() == f"pushgo/channel/{channel}"


@pytest.mark.parametrize("content_type", [None, "image/png", "text/plain"])
def test_every_rendering_shows_what_is_not_json(gateway: Gateway, key: str, content_type: str | None) -> None:
    content, shown = (b"caf\xc3\xa9", "caf\u00e9") if content_type == "text/plain" else (PNG, b64encode(PNG).decode())
    path = destination(gateway, key, "standard", where=f"contains(@, '{shown[:3]}')")
    destination(gateway, key, "raw", where="length(missing) > `1` || amount > `1`")
    request = gateway.process.request
    hook = {"event": "start", "url": gateway.receiver_url}
    assert request("PUT", "/events/v2/projects/p/webhooks/hook", hook, key=key).status == 201
    named = {"source": "nativeframe/project/p", "type": "start"}
    if content_type is not None:
        named["datacontenttype"] = content_type
    with listening(gateway.base_url, key, {"data": "true", "kinds": "event"}) as listener:
        event_id = send(gateway, key, to_binary_event(event(content, **named))).json["event_id"]
        told = listener.until_event(event_id)[-1].data
    assert told["data"] == shown
    assert json.loads(arrived(gateway, path).body)["data"] == shown
    hexadecimal = event_id.removeprefix("evt_")
    buildable = {"X-Buildable-Secret": key}
    asked = {"eventName": "start", "txKey": "worker", "since": 0}
    claim = {"key": hexadecimal, "txKey": "worker"}
    answers = [
        request("GET", f"/api/v1/events/{event_id}", key=key),
        request("GET", f"/api/v1/events?q={quote(shown)}", key=key),
        request("GET", "/api/v1/deliveries", key=key),
        request("GET", "/api/v1/destinations", key=key),
        request("GET", "/events/v2/history/webhooks/hook", key=key),
        request("POST", "/query", asked, headers=buildable),
        request("POST", "/init", claim, headers=buildable),
        request("POST", f"/api/v1/events/{event_id}/replay", key=key),
    ]
    assert [each.status for each in answers] == [200] * 7 + [202], answers
    one, searched, deliveries, _, history, rows, _, _ = answers
    assert one.json["payload"] == shown
    assert [each["id"] for each in searched.json["events"]] == [event_id]
    assert deliveries.json["total"] == 2
    assert [each["key"] for each in rows.json["rows"]] == [hexadecimal]
    assert json.loads(rows.json["rows"][0]["payload"]) == shown
    assert [each["source"]["payload"] for each in history.json] == [shown]
