"""The plan's limits over the wire, at the limit and beyond it, with requests that race; the bytes of the bodies."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from exchanges import Gateway
from exchanges.sending import Answer, send

FREE_EVENTS = 100
FREE_CATEGORIES = 3
BUG = b'{"category":"bug"}'
USED_UP = b'{"message":"Monthly quota reached. Please upgrade your plan for more events"}'

Call = Callable[..., Answer]


def _caller(gateway: Gateway, key: str) -> Call:
    def call(method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        given = [
            ("Authorization", f"Bearer {key}"),
            *((name.replace("_", "-"), text) for name, text in headers.items()),
        ]
        return send(gateway.base_url, method, path, given, body)

    return call


def _put_account(call: Call, account: dict[str, Any]) -> None:
    assert call("PUT", "/api/v1/account", json.dumps(account).encode()).status == 200


@pytest.fixture
def free(gateway: Gateway) -> Call:
    """Return a caller for an organisation on the plan free, whose people and categories are set up."""
    call = _caller(gateway, gateway.new_organisation("free")["key"])
    _put_account(call, {"email": {"enabled": True, "to": ["ops@example.com"]}})
    assert call("POST", "/api/v1/categories/quickstart").status == 200
    return call


def _race(call: Call, times: int, body: Callable[[int], bytes], path: str) -> list[Answer]:
    with ThreadPoolExecutor(max_workers=16) as threads:
        return list(threads.map(lambda number: call("POST", path, body(number)), range(times)))


def _seconds_to_next_month(now: datetime) -> float:
    first = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return (first - now).total_seconds()


def test_racing_events_are_accepted_up_to_the_quota_and_no_further(free: Call) -> None:
    answers = _race(free, FREE_EVENTS + 30, lambda _: BUG, "/api/v1/event")

    assert Counter(answer.status for answer in answers) == {200: FREE_EVENTS, 429: 30}
    assert {answer.body for answer in answers if answer.status == 429} == {USED_UP}
    usage = json.loads(free("GET", "/api/v1/usage").body)
    assert (usage["eventsUsed"], usage["eventsLimit"]) == (FREE_EVENTS, FREE_EVENTS)


def test_a_used_up_quota_is_told_after_the_account_and_before_the_body(free: Call) -> None:
    first = free("POST", "/api/v1/event", BUG, Idempotency_Key="first")
    answers = _race(free, FREE_EVENTS - 1, lambda _: BUG, "/api/v1/event")
    assert {answer.status for answer in answers} == {200}

    before = _seconds_to_next_month(datetime.now(UTC))
    for body in (BUG, b"{", b'{"category":1}', b'{"category":"unknown"}', b"a" * 1_048_577):
        refused = free("POST", "/api/v1/event", body)
        assert (refused.status, refused.body) == (429, USED_UP)
        assert before - 30 <= int(refused.headers["retry-after"]) <= before + 1
    another = free("POST", "/api/v1/event", BUG, Idempotency_Key="second")
    repeated = free("POST", "/api/v1/event", BUG, Idempotency_Key="first")
    _put_account(free, {"telegram": {"enabled": True}})
    unreachable = free("POST", "/api/v1/event", BUG)

    assert (another.status, another.body) == (429, USED_UP)
    assert "retry-after" in another.headers
    assert (repeated.status, repeated.body) == (200, first.body)
    assert unreachable.status == 403


def test_racing_categories_stop_at_the_plans_limit(gateway: Gateway) -> None:
    call = _caller(gateway, gateway.new_organisation("free")["key"])

    answers = _race(call, 12, lambda number: b'{"name":"c%d","color":"#000000"}' % number, "/api/v1/categories")

    assert Counter(answer.status for answer in answers) == {201: FREE_CATEGORIES, 403: 12 - FREE_CATEGORIES}
    assert len(json.loads(call("GET", "/api/v1/categories").body)["categories"]) == FREE_CATEGORIES


def test_racing_replacements_of_an_account_leave_one_of_them(gateway: Gateway) -> None:
    call = _caller(gateway, gateway.new_organisation()["key"])
    accounts = [
        {"email": {"enabled": True, "to": [f"{n}@example.com"]}, "telegram": {"enabled": True, "chat_id": n + 1}}
        for n in range(12)
    ]

    with ThreadPoolExecutor(max_workers=12) as threads:
        answers = list(threads.map(lambda it: call("PUT", "/api/v1/account", json.dumps(it).encode()), accounts))

    assert {answer.status for answer in answers} <= {200, 409}
    stored = json.loads(call("GET", "/api/v1/account").body)
    assert {"email": stored["email"], "telegram": stored["telegram"]} in accounts


@pytest.mark.parametrize(
    ("authorization", "status", "body"),
    [
        (None, 401, b'{"message":"Unauthorized"}'),
        ("bearer x", 401, b"""{"message":"Invalid auth header format. Expected: 'Bearer [API_KEY]'"}"""),
        ("Bearer x", 401, b'{"message":"Invalid API key"}'),
        ("Bearer {key}", 403, b'{"message":"Please enter your discord ID in your account settings"}'),
    ],
)
def test_refusals_before_the_body_are_the_same_to_the_byte(
    gateway: Gateway, authorization: str | None, status: int, body: bytes
) -> None:
    key = gateway.new_organisation()["key"]
    headers = [] if authorization is None else [("Authorization", authorization.format(key=key))]

    answer = send(gateway.base_url, "POST", "/api/v1/event", headers, BUG)

    assert (answer.status, answer.body, answer.headers["content-type"]) == (status, body, "application/json")


def test_the_other_bodies_are_the_same_to_the_byte(free: Call) -> None:
    accepted = free("POST", "/api/v1/event", BUG)
    unknown = free("POST", "/api/v1/event", b'{"category":"Bug"}')
    malformed = free("POST", "/api/v1/event", b"{")
    _put_account(free, {"telegram": {"enabled": True}})
    no_telegram = free("POST", "/api/v1/event", BUG)

    event_id = json.loads(accepted.body)["eventId"]
    assert accepted.body == b'{"message":"Event processed successfully","eventId":"%b"}' % event_id.encode()
    assert unknown.body == b'{"message":"You dont have a category named \\"Bug\\""}'
    assert malformed.body == b'{"message":"Invalid JSON request body"}'
    assert no_telegram.body == (
        b'{"message":"Telegram username not set. Please set your telegram username in your account settings '
        b'to receive notifications"}'
    )


def test_a_body_of_faulty_fields_is_answered_quickly_and_shortly(free: Call) -> None:
    fields = ",".join(f'"{number}":[]' for number in range(90_000))
    started_s = time.monotonic()

    answer = free("POST", "/api/v1/event", f'{{"category":"bug","fields":{{{fields}}}}}'.encode())

    assert answer.status == 422
    assert len(answer.body) < 1_048_576
    assert time.monotonic() - started_s < 5
