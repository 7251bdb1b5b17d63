"""What recorded exchanges are compared with: a comparison that lets a wrong answer pass would prove nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from described import differences
from gateway import Answer

EVENT_ID = "evt_" + "0" * 32
QUEUED = {"id": EVENT_ID, "status": "QUEUED", "message": "Event replayed"}
REPLAY = f"/api/v1/events/{EVENT_ID}/replay"
KEY = {"name": "billing"}


def told(
    method: str,
    target: str,
    *,
    status: int = 200,
    answer: Any = None,
    sent: Any = None,
    content_type: str = "application/json",
) -> list[str]:
    return differences(
        method,
        target,
        [("Content-Type", "application/json")],
        b"" if sent is None else json.dumps(sent).encode(),
        Answer(status, {"content-type": content_type}, b"" if answer is None else json.dumps(answer).encode()),
    )


def test_what_is_as_described_has_no_differences() -> None:
    assert told("POST", REPLAY, status=202, answer=QUEUED) == []
    assert told("HEAD", "/health") == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"status": 418}, "no answer 418"),
        ({"content_type": "text/plain"}, "content type"),
        ({"answer": {**QUEUED, "secret": "x"}}, "secret"),
        ({"answer": {"id": EVENT_ID, "status": "QUEUED"}}, "message"),
        ({"answer": {**QUEUED, "id": "1"}}, "$.id"),
        ({"answer": {**QUEUED, "status": "LOST"}}, "$.status"),
        ({"status": 404, "answer": {"message": "not found"}}, "detail"),
    ],
)
def test_an_answer_that_is_not_described_is_a_difference(change: dict[str, Any], word: str) -> None:
    found = told("POST", REPLAY, **{"status": 202, "answer": QUEUED, **change})

    assert any(word in each for each in found), found


def test_a_code_that_the_route_does_not_have_is_a_difference() -> None:
    error = {"detail": "no", "code": "not_found", "fields": []}
    assert told("GET", "/api/v1/destinations/x", status=404, answer=error) == []
    assert told("GET", "/api/v1/destinations/x", status=404, answer={**error, "code": "lost"})


def test_a_body_where_none_is_described_is_a_difference() -> None:
    path = "/events/v2/projects/shop/webhooks/billing"
    assert told("DELETE", path, status=204) == []
    assert told("DELETE", path, status=204, answer={})


def test_a_request_that_was_accepted_must_be_described_too() -> None:
    page: dict[str, list[str]] = {"keys": []}
    assert told("GET", "/api/v1/keys", answer=page) == []
    made = {
        "id": "key_" + "0" * 32,
        "name": "billing",
        "key": "tcs_live_1",
        "prefix": "tcs_live_1",
        "environment": "live",
        "scopes": ["read"],
        "created_at": "2026-03-06T10:30:00Z",
    }
    assert told("POST", "/api/v1/keys", status=201, answer=made, sent=KEY) == []
    assert told("POST", "/api/v1/keys", status=201, answer=made, sent={**KEY, "colour": 1})
    refused = {"detail": "colour is not a field of this request"}
    assert told("POST", "/api/v1/keys", status=400, answer=refused, sent={**KEY, "colour": 1}) == []


def test_a_parameter_is_judged_as_the_value_that_it_spells() -> None:
    events = {"events": [], "total": 0, "limit": 5, "offset": 0, "next_cursor": None}
    assert told("GET", "/api/v1/events?limit=5&since=2026-03-06T10:30:00Z&type=5", answer=events) == []
    assert told("GET", "/api/v1/events?limit=101", answer=events)
    assert told("GET", "/api/v1/events?since=yesterday", answer=events)


@pytest.mark.parametrize(("method", "path"), [("GET", "/nobodys"), ("PUT", "/health"), ("GET", "/e/")])
def test_nothing_is_said_of_what_is_no_route(method: str, path: str) -> None:
    assert told(method, path, status=404, answer={"anything": 1}) == []
