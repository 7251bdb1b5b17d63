"""Every dialect meets every feature: delivered signed, found by each rendering of its id, replayed, consumed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook as SvixWebhook

from gateway import Gateway
from tocsin.core.identifiers import dashed, hex32, parse_event_id, prefixed

pytestmark = pytest.mark.acceptance


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was accepted, and the type that it must have."""

    id: bytes
    type: str
    data: Any


def _ok(answer: Any, status: int) -> Any:
    assert answer.status == status, answer.body
    return answer.json


def _sent(shown: str, event_type: str, data: Any) -> Sent:
    event_id = parse_event_id(shown)
    assert event_id is not None
    return Sent(event_id, event_type, data)


def send_pushgo(gateway: Gateway, key: str) -> Sent:
    request = gateway.process.request
    channel = _ok(request("POST", "/api/v1/channels", {"name": "ops", "password": "pass-1234"}, key=key), 201)
    body = {
        "channel_id": channel["id"],
        "title": "Database lag",
        "status": "ongoing",
        "message": "Replica delay > 30s",
        "severity": "high",
        "event_time": 1713750000,
        "tags": ["db"],
    }
    answer = _ok(request("POST", "/event/create", {**body, "password": "pass-1234"}, key=key), 200)
    return _sent(answer["data"]["event_id"], "event.created", body)


def send_pingpilot(gateway: Gateway, key: str) -> Sent:
    request = gateway.process.request
    _ok(request("POST", "/api/v1/categories", {"name": "bug", "color": "#ff6b6b"}, key=key), 201)
    account = {"email": {"enabled": True, "to": ["ops@example.com"]}}
    _ok(request("PUT", "/api/v1/account", account, key=key), 200)
    body = {"category": "bug", "description": "Checkout fails", "fields": {"retries": 3, "ok": False}}
    return _sent(_ok(request("POST", "/api/v1/event", body, key=key), 200)["eventId"], "bug", body)


def send_buildable(gateway: Gateway, key: str) -> Sent:
    body = {"event": "user.created", "payload": {"id": 12345678901234567890123}}
    answer = gateway.process.request("POST", "/emit", body, headers={"X-Buildable-Secret": key})
    return _sent(_ok(answer, 200)["key"], "user.created", body["payload"])


def send_nativeframe(gateway: Gateway, key: str) -> Sent:
    body = {"order": 42, "amount": 1.50}
    answer = gateway.process.request("POST", "/events/v2/projects/shop/events/order-paid", body, key=key)
    return _sent(_ok(answer, 202)["id"], "order-paid", body)


def send_promptjang(gateway: Gateway, key: str) -> Sent:
    request = gateway.process.request
    endpoint = _ok(request("POST", "/api/v1/endpoints", {"url": f"{gateway.receiver_url}/endpoint"}, key=key), 201)
    body = b'{ "event_type": "order.created", "payload": {"order_id": "ORD-001"} }'
    timestamp = str(int(time.time()))
    signed = timestamp.encode() + b"." + body
    signature = hmac.new(endpoint["secret"].encode(), signed, hashlib.sha256).hexdigest()
    headers = {"X-PJ-Signature": signature, "X-PJ-Timestamp": timestamp}
    answer = request("POST", f"/e/{endpoint['id']}", body, key=key, headers=headers)
    return _sent(_ok(answer, 202)["id"], "order.created", json.loads(body))


SENDERS = [send_pushgo, send_pingpilot, send_buildable, send_nativeframe, send_promptjang]


@pytest.mark.parametrize("send", SENDERS, ids=lambda send: send.__name__.removeprefix("send_"))
def test_an_event_of_any_dialect_is_delivered_found_replayed_and_consumed(
    gateway: Gateway, send: Callable[[Gateway, str], Sent]
) -> None:
    key = gateway.new_organisation()["key"]
    request = gateway.process.request
    path = f"/any/{send.__name__}"
    destination = {"name": "all", "transport": "webhook", "address": {"url": gateway.receiver_url + path}}
    secret = _ok(request("POST", "/api/v1/destinations", destination, key=key), 201)["secret"]

    sent = send(gateway, key)
    (arrival,) = gateway.receiver.wait_for(1, path=path)

    assert json.loads(arrival.body) == sent.data
    assert arrival.headers["webhook-id"] == prefixed("evt", sent.id)
    StandardWebhook(secret).verify(arrival.body.decode(), arrival.headers)
    SvixWebhook(secret).verify(
        arrival.body.decode(),
        {name.replace("webhook-", "svix-"): value for name, value in arrival.headers.items()},
    )

    for shown in (hex32(sent.id), dashed(sent.id), prefixed("evt", sent.id)):
        found = _ok(request("GET", f"/api/v1/events/{shown}", key=key), 200)
        assert found["id"] == prefixed("evt", sent.id)
        assert found["event_type"] == sent.type
        assert found["payload"] == sent.data
    listed = _ok(request("GET", "/api/v1/events", key=key), 200)["events"]
    assert [each["id"] for each in listed] == [prefixed("evt", sent.id)]

    replayed = _ok(request("POST", f"/api/v1/events/{dashed(sent.id)}/replay", key=key), 202)["id"]
    assert replayed != prefixed("evt", sent.id)
    arrivals = gateway.receiver.wait_for(2, path=path)
    assert arrivals[1].headers["webhook-id"] == replayed
    assert arrivals[1].body == arrivals[0].body
    original = _ok(request("GET", f"/api/v1/events/{hex32(sent.id)}", key=key), 200)
    assert original["status"] == "REPLAYED"

    secret_header = {"X-Buildable-Secret": key}
    claim = {"key": hex32(sent.id), "txKey": "worker"}
    assert _ok(request("POST", "/init", claim, headers=secret_header), 200)["state"] == "processing"
    assert request("POST", "/init", claim, headers=secret_header).status == 409
    query = {"eventName": sent.type, "txKey": "worker", "since": 0}
    rows = _ok(request("POST", "/query", query, headers=secret_header), 200)["rows"]
    assert [f"evt_{row['key']}" for row in rows] == [replayed]
    done = {**claim, "state": "finished", "output": "ok"}
    assert _ok(request("POST", "/transact", done, headers=secret_header), 200)["state"] == "finished"


def test_a_promptjang_endpoint_gets_its_event_byte_for_byte_with_both_signatures(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    before = len([each for each in gateway.receiver.arrivals if each.path == "/endpoint"])

    sent = send_promptjang(gateway, key)
    arrival = gateway.receiver.wait_for(before + 1, path="/endpoint")[-1]

    assert arrival.body == b'{ "event_type": "order.created", "payload": {"order_id": "ORD-001"} }'
    assert arrival.headers["x-pj-event-id"] == prefixed("evt", sent.id)
    assert arrival.headers["x-pj-event-type"] == "order.created"
    assert arrival.headers["webhook-signature"].startswith("v1,")
    assert len(arrival.headers["x-pj-signature"]) == 64
