"""One signed request sent over and over makes one event, also when the process is killed in between."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway import Answer, Gateway, Process
from stores import Store

pytestmark = pytest.mark.acceptance

BODY = b'{"event_type":"order.created","n":1}'
URL = "http://127.0.0.1:9/"
SENDERS = 8


@pytest.fixture(name="process")
def _process(store: Store, tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data", store.settings())
    process.start()
    yield process
    assert process.stop() == 0


def signed_headers(secret: str, body: bytes = BODY) -> dict[str, str]:
    timestamp = str(int(time.time()))
    signature = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-PJ-Signature": signature, "X-PJ-Timestamp": timestamp, "Content-Type": "application/json"}


def make_endpoint(process: Process, key: str, url: str = URL) -> tuple[str, str]:
    made = process.request("POST", "/api/v1/endpoints", {"url": url}, key=key).json
    return made["id"], made["secret"]


def test_a_request_sent_a_thousand_times_and_after_a_kill_makes_one_event(process: Process) -> None:
    key = process.keys["api_key"]
    endpoint_id, secret = make_endpoint(process, key)
    headers = signed_headers(secret)

    def send(_number: int) -> Answer:
        return process.request("POST", f"/e/{endpoint_id}", BODY, key=key, headers=headers)

    with ThreadPoolExecutor(SENDERS) as senders:
        answers = list(senders.map(send, range(1000)))
    assert Counter(answer.status for answer in answers) == {202: 1000}
    ids = {answer.json["id"] for answer in answers}
    assert len(ids) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1

    process.kill()
    process.start()
    again = send(0)
    assert (again.status, {again.json["id"]}) == (202, ids)
    listed = process.request("GET", "/api/v1/events?event_type=order.created", key=key).json
    assert listed["total"] == 1


def test_requests_that_differ_make_events_of_their_own(process: Process) -> None:
    """The negative control: what is counted above is not simply never more than one."""
    key = process.keys["api_key"]
    endpoint_id, secret = make_endpoint(process, key)
    for number in range(5):
        body = json.dumps({"n": number}).encode()
        headers = signed_headers(secret, body)
        assert process.request("POST", f"/e/{endpoint_id}", body, key=key, headers=headers).status == 202
    assert process.request("GET", "/api/v1/events", key=key).json["total"] == 5


def test_requests_that_race_for_the_last_places_get_exactly_the_limit(gateway: Gateway) -> None:
    key = gateway.new_organisation("free")["key"]
    process = gateway.process
    endpoint_id, secret = make_endpoint(process, key, gateway.receiver_url)

    def send(number: int) -> int:
        body = json.dumps({"n": number}).encode()
        headers = signed_headers(secret, body)
        return process.request("POST", f"/e/{endpoint_id}", body, key=key, headers=headers).status

    with ThreadPoolExecutor(SENDERS) as senders:
        statuses = Counter(senders.map(send, range(160)))
    assert statuses == {202: 100, 429: 60}
