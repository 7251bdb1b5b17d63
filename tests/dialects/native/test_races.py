"""Changes of one destination that come at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway import Answer, Gateway

RACERS = 8


def made(gateway: Gateway) -> tuple[str, str, str]:
    key = gateway.new_organisation()["key"]
    body = {"name": "raced", "transport": "webhook", "address": {"url": gateway.receiver_url}}
    answer = gateway.process.request("POST", "/api/v1/destinations", body, key=key)
    return key, f"/api/v1/destinations/{answer.json['id']}", answer.headers["etag"]


def race(gateway: Gateway, key: str, path: str, headers: dict[str, str]) -> list[Answer]:
    def change(number: int) -> Answer:
        body: dict[str, Any] = {"name": f"by {number}"}
        return gateway.process.request("PATCH", path, body, key=key, headers=headers)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(change, range(RACERS)))


def test_of_changes_to_one_revision_exactly_one_goes_through(gateway: Gateway) -> None:
    key, path, etag = made(gateway)

    answers = race(gateway, key, path, {"If-Match": etag})

    (winner,) = [answer for answer in answers if answer.status == 200]
    assert sorted(answer.status for answer in answers) == [200] + [412] * (RACERS - 1)
    assert gateway.process.request("GET", path, key=key).json == winner.json


def test_a_change_without_a_condition_is_done_or_refused_but_never_lost(gateway: Gateway) -> None:
    key, path, _ = made(gateway)

    answers = race(gateway, key, path, {})

    done = [answer.json for answer in answers if answer.status == 200]
    assert done
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.json["code"] for answer in answers if answer.status == 409} <= {"changed_meanwhile"}
    last = max(done, key=lambda each: int(each["revision"]))
    assert gateway.process.request("GET", path, key=key).json == last
