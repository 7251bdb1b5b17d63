"""What was once given as a secret is in no later answer of the native routes."""

from __future__ import annotations

from typing import Any

from gateway import Gateway

CANARY = "canary-1f0c4e"


def test_no_answer_tells_a_secret(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    answers: list[bytes] = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = gateway.process.request(method, path, body, key=key)
        assert answer.status < 300, answer.body
        answers.append(answer.body)
        return answer.json

    address = {"url": f"{gateway.receiver_url}/secrets", "headers": {"X-Token": CANARY}}
    made = ask("POST", "/api/v1/destinations", {"name": "n", "transport": "webhook", "address": address})
    mailbox = {"name": "m", "transport": "mailbox", "address": {"device_key": CANARY}}
    ask("POST", "/api/v1/destinations", mailbox)
    channel = ask("POST", "/api/v1/channels", {"name": "c", "password": CANARY})
    shown_once = answers.pop(0)
    assert made["secret"].encode() in shown_once
    assert CANARY.encode() not in shown_once

    one = f"/api/v1/destinations/{made['id']}"
    ask("GET", one)
    ask("PATCH", one, {"name": "other"})
    delivery_id = ask("POST", f"{one}/test")["delivery_ids"][0]
    (arrival,) = gateway.receiver.wait_for(1, path="/secrets")
    assert arrival.headers["x-token"] == CANARY
    ask("GET", f"/api/v1/deliveries/{delivery_id}")
    ask("POST", f"{one}/pause")
    ask("GET", "/api/v1/destinations")
    incident = {"title": "t", "status": "s", "message": "m", "severity": "low", "event_time": 1_713_750_000}
    created = ask("POST", "/event/create", {"channel_id": channel["id"], "password": CANARY, **incident})
    ask("GET", f"/api/v1/incidents/{created['data']['event_id']}")
    ask("GET", "/api/v1/channels")

    assert not [body for body in answers if CANARY.encode() in body or made["secret"].encode() in body]
