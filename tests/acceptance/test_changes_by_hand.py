"""What an operator changes while deliveries wait: a destination removed, its URL moved, an event replayed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import Gateway

pytestmark = pytest.mark.acceptance


def _ok(answer: Any, *statuses: int) -> Any:
    assert answer.status in statuses, answer.body
    return answer.json


def _destination(gateway: Gateway, key: str, path: str, **more: Any) -> str:
    address = {"url": gateway.receiver_url + path, **more}
    body = {"name": "down", "transport": "webhook", "address": address, "retry": {"schedule_s": [3600]}}
    identifier: str = _ok(gateway.process.request("POST", "/api/v1/destinations", body, key=key), 201)["id"]
    return identifier


def _emit(gateway: Gateway, key: str) -> str:
    answer = gateway.process.request(
        "POST", "/emit", {"event": "x", "payload": {}}, headers={"X-Buildable-Secret": key}
    )
    return f"evt_{_ok(answer, 200)['key']}"


def _until(gateway: Gateway, key: str, event: str, *wanted: str) -> str:
    status = ""
    for _ in range(400):
        status = _ok(gateway.process.request("GET", f"/api/v1/events/{event}", key=key), 200)["status"]
        if status in wanted:
            break
    return status


def test_what_waits_for_a_removed_destination_is_given_up_at_once(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    destination = _destination(gateway, key, "/status/503")
    event = _emit(gateway, key)
    assert _until(gateway, key, event, "RETRYING") == "RETRYING"

    _ok(gateway.process.request("DELETE", f"/api/v1/destinations/{destination}", key=key), 200)

    assert _until(gateway, key, event, "EXPIRED") == "EXPIRED"


def test_hidden_headers_do_not_follow_a_url_to_another_host(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    request = gateway.process.request
    destination = _destination(gateway, key, "/hook", headers={"Authorization": "Bearer canary-credential"})
    elsewhere = gateway.receiver_url.replace("127.0.0.1", "127.0.0.2") + "/hook"

    refused = request("PATCH", f"/api/v1/destinations/{destination}", {"address": {"url": elsewhere}}, key=key)
    assert (refused.status, refused.json["code"]) == (422, "hidden_value_required")
    assert [each["name"] for each in refused.json["fields"]] == ["address.headers.Authorization"]
    same_host = {"address": {"url": gateway.receiver_url + "/moved"}}
    _ok(request("PATCH", f"/api/v1/destinations/{destination}", same_host, key=key), 200)
    without = {"address": {"url": elsewhere, "headers": {}}}
    _ok(request("PATCH", f"/api/v1/destinations/{destination}", without, key=key), 200)


def test_recovery_leaves_out_what_was_replayed(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    request = gateway.process.request
    destination = _destination(gateway, key, "/status/410")
    event = _emit(gateway, key)
    assert _until(gateway, key, event, "EXPIRED") == "EXPIRED"
    count = {"since": "2020-01-01T00:00:00Z"}
    path = f"/api/v1/destinations/{destination}/recover?dry_run=true"
    assert _ok(request("POST", path, count, key=key), 200) == {"count": 1}

    _ok(request("POST", f"/api/v1/events/{event}/replay", {}, key=key), 202)

    assert _ok(request("POST", path, count, key=key), 200) == {"count": 0}
