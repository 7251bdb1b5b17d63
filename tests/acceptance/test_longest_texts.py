"""The longest texts that each dialect lets through are stored, sent and found; longer ones it refuses."""

from __future__ import annotations

import random
import string
import time
from typing import Any

import pytest

from gateway import Gateway
from several import until
from tenants import PASSWORD, Tenant, as_json, signed, tenant_of

pytestmark = pytest.mark.acceptance

DICE = random.Random(5)


def noise(size_bytes: int) -> str:
    """Return a text of four bytes a character, of which no store can make less."""
    return "".join(chr(DICE.randrange(0x10000, 0x1FFFE)) for _ in range(size_bytes // 4))


def word(characters: int) -> str:
    """Return as many letters and digits."""
    return "".join(DICE.choices(string.ascii_letters + string.digits, k=characters))


def in_order(tenant: Tenant, url: str) -> None:
    """Make a destination that gets everything in order, by which subjects are keys of lanes too."""
    body = {"name": "all", "transport": "webhook", "address": {"url": url}, "ordered": True}
    tenant.post("/api/v1/destinations", body)


def cloud_event(tenant: Tenant, **attributes: str) -> Any:
    """Return what the gateway answers to a CloudEvent with these attributes."""
    event = {"specversion": "1.0", "id": word(8), "source": "/tests", "type": "t", "data": {}, **attributes}
    headers = {"Content-Type": "application/cloudevents+json"}
    return tenant.ask("POST", "/api/v1/cloudevents", as_json(event), headers)


def test_cloudevents(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    in_order(tenant, f"{gateway.receiver_url}/longest")
    texts = {"source": f"/{word(1023)}", "type": noise(2048), "subject": noise(2048)}
    answer = cloud_event(tenant, **texts)
    assert answer.status in (200, 201, 202, 204), answer.body
    gateway.receiver.wait_for(1, path="/longest")
    (delivery,) = tenant.get("/api/v1/deliveries")["deliveries"]
    assert {name: delivery["event"][name] for name in texts} == texts
    for name in ("type", "subject"):
        refused = cloud_event(tenant, **{name: f"{texts[name]}a"})
        assert refused.status in (400, 422), refused.body
        assert [each["name"] for each in refused.json["fields"]] == [name]
        assert cloud_event(tenant, **{name: "a" * 1025}).status == refused.status


def test_buildable(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    name, tx_key = word(128), noise(512)
    key = tenant.post("/emit", {"event": name, "payload": {}})["key"]
    tenant.post("/init", {"key": key, "txKey": tx_key})
    query = {"eventName": name, "txKey": tx_key, "since": 0, "txState": "processing"}
    assert key in str(tenant.post("/query", query))
    assert tenant.ask("POST", "/init", {"key": key, "txKey": f"{tx_key}a"}).status == 400
    assert tenant.ask("POST", "/emit", {"event": f"{name}a", "payload": {}}).status == 400


def test_native_frame_and_promptjang(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    in_order(tenant, f"{gateway.receiver_url}/others")
    project, event = word(64), word(64)
    tenant.post(f"/events/v2/projects/{project}/events/{event}", {})
    assert tenant.ask("POST", f"/events/v2/projects/{project}a/events/{event}", {}).status == 400
    endpoint = tenant.endpoint(f"{gateway.receiver_url}/endpoint")
    body = as_json({"a": 1})
    texts = {"X-PJ-Event-Type": word(128), "X-PJ-Correlation-ID": word(128)}
    tenant.post(f"/e/{endpoint['id']}", body, signed(endpoint["secret"], body) | texts)
    gateway.receiver.wait_for(2, path="/others")
    for name, text in texts.items():
        longer = signed(endpoint["secret"], body) | {name: f"{text}a"}
        assert tenant.ask("POST", f"/e/{endpoint['id']}", body, longer).status == 400


def test_pushgo_and_pingpilot(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    in_order(tenant, f"{gateway.receiver_url}/longest-texts")
    channel = tenant.channel()
    message: dict[str, Any] = {
        "channel_id": channel,
        "password": PASSWORD,
        "title": "t",
        "occurred_at": int(time.time()),
        "thing_id": word(64),
        "op_id": word(128),
    }
    tenant.post("/message", message)
    for name in ("thing_id", "op_id"):
        assert tenant.ask("POST", "/message", message | {name: message[name] + "a"}).status == 400
    category = word(64).lower()
    tenant.category(category)
    tenant.post("/api/v1/event", {"category": category})
    gateway.receiver.wait_for(2, path="/longest-texts")
    until(lambda: all(each["status"] == "delivered" for each in tenant.get("/api/v1/deliveries")["deliveries"]))
    assert tenant.ask("POST", "/api/v1/categories", {"name": f"{category}a", "color": "#ff6b6b"}).status == 400
