"""What makes two requests the same, what an incident takes over, and what is stored of a request."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.core.incident import IncidentAction
from tocsin.dialects.pushgo import message_request
from tocsin.dialects.pushgo.event_request import (
    EventFields,
    attrs_patch,
    fingerprint,
    judge_event,
    profile,
    read_event,
)
from tocsin.dialects.pushgo.events import data_without_password
from tocsin.dialects.pushgo.message_request import body_of_query, complete_message, judge_message, read_message

CREATE: dict[str, Any] = {
    "channel_id": "06J0FZG1Y8XGG14VTQ4Y3G10MR",
    "password": "pass-1234",
    "title": "Database lag",
    "status": "ongoing",
    "message": "Replica delay > 30s",
    "severity": "high",
    "event_time": 1713750000,
}
UPDATE: dict[str, Any] = {
    "channel_id": "06J0FZG1Y8XGG14VTQ4Y3G10MR",
    "password": "pass-1234",
    "event_id": "0" * 32,
    "status": "s",
    "message": "m",
    "severity": "low",
    "event_time": 1,
}
MESSAGE: dict[str, Any] = {"channel_id": "06J0FZG1Y8XGG14VTQ4Y3G10MR", "password": "pass-1234", "title": "T"}


def created(**changes: Any) -> EventFields:
    return _judged({**CREATE, **changes}, IncidentAction.CREATE)


def updated(**changes: Any) -> EventFields:
    return _judged({**UPDATE, **changes}, IncidentAction.UPDATE)


def _judged(body: dict[str, Any], action: IncidentAction) -> EventFields:
    return judge_event(read_event(body, action), action).fields


@pytest.mark.parametrize(
    "changes",
    [
        {"op_id": "x"},
        {"password": "other-1234"},
        {"channel_id": "06j0-fzg1y8xgg14vtq4y3g10mr"},
        {"event_time": "1713750000000"},
        {"started_at": 1713750000},
        {"severity": "HIGH "},
        {"tags": None, "description": " ", "ciphertext": "", "metadata": {}, "attrs": {}, "thing_id": " "},
    ],
)
def test_spellings_of_one_request_are_the_same(changes: dict[str, Any]) -> None:
    assert fingerprint(created(**changes)) == fingerprint(created())


def test_requests_that_say_something_else_are_all_told_apart() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"tags": []},
        {"images": []},
        {"tags": ["a"]},
        {"images": ["a"]},
        {"attrs": {"a": None}},
        {"attrs": {"a": 1}},
        {"attrs": {"a": 1.0}},
        {"attrs": {"a": True}},
        {"attrs": {"a": "1"}},
        {"metadata": {"a": 1}},
        {"started_at": 1713750001},
        {"title": "Database lag "},
        {"ciphertext": "c"},
        {"ciphertext": " c"},
    ]

    assert len({fingerprint(created(**each)) for each in changes}) == len(changes)


def test_the_order_of_members_makes_no_difference() -> None:
    one = created(attrs={"a": 1, "b": {"c": 1, "d": 2}}, metadata={"x": 1, "y": 2})
    other = created(metadata={"y": 2, " x": 1}, attrs={"b": {"d": 2, "c": 1}, "a": 1})

    assert fingerprint(one) == fingerprint(other)


def test_an_incident_takes_over_what_its_event_carries() -> None:
    fields = created(tags=["a"], images=[], metadata={" k ": " v "}, thing_id="t", started_at=5, ciphertext="c")

    assert profile(fields) == {
        "title": "Database lag",
        "status": "ongoing",
        "message": "Replica delay > 30s",
        "severity": "high",
        "tags": ["a"],
        "images": [],
        "metadata": {"k": " v "},
        "thing_id": "t",
        "started_at": 5000,
    }


def test_an_update_carries_no_title_that_it_was_not_given() -> None:
    assert profile(updated()) == {"status": "s", "message": "m", "severity": "low"}


def test_numbers_of_any_size_are_kept_in_the_incident() -> None:
    attrs = {"a": 2**63, "b": {"c": -(2**63) - 1, "d": None}, "e": 2**63 - 1, "f": True, "g": 1.5}

    assert attrs_patch(created(attrs=attrs)) == attrs
    assert profile(created(metadata={"n": 10**40}))["metadata"] == {"n": 10**40}


def test_what_is_stored_is_the_request_byte_for_byte_without_its_password() -> None:
    body = b'{ "title" : "\\u00e9",\n"password": "a", "n":1.10, "big": 99999999999999999999, "attrs":{"x" : [1, 2]} }'

    assert data_without_password(body) == (
        b'{"title":"\\u00e9","n":1.10,"big":99999999999999999999,"attrs":{"x" : [1, 2]}}'
    )


@pytest.mark.parametrize("name", [b"password", b"p\\u0061ssword"])
def test_no_spelling_of_the_password_is_stored(name: bytes) -> None:
    assert data_without_password(b'{"password":"a","%b":"secret","x":1}' % name) == b'{"x":1}'


def _message(**changes: Any) -> message_request.MessageFields:
    message = read_message({**MESSAGE, **changes})
    return complete_message(message, judge_message(message))


def test_a_message_s_time_does_not_count_when_the_client_left_it_out() -> None:
    assert _message().occurred_ms is None
    assert message_request.fingerprint(_message()) == message_request.fingerprint(_message(severity="nonsense"))
    assert message_request.fingerprint(_message()) != message_request.fingerprint(_message(occurred_at=1))


def test_a_far_ttl_counts_as_it_was_sent() -> None:
    # Cut to 30 days from now it would differ from one repeat to the next.
    assert _message(ttl=4102444800).ttl_ms == 4_102_444_800_000


def test_a_query_says_the_same_as_a_body() -> None:
    query = {
        **{name: str(value) for name, value in MESSAGE.items()},
        "tags": "a, b,,",
        "images": " ",
        "ttl": "4102444800",
        "metadata": '{"k": 1}',
        "thing_id": "",
    }

    asked = read_message(body_of_query(query))

    assert asked == read_message({**MESSAGE, "tags": ["a", " b"], "ttl": 4102444800, "metadata": {"k": 1}})
