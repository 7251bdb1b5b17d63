"""Webhooks, read from a body and shown again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tocsin.core.destination import Destination, Filter, Transport
from tocsin.core.errors import MalformedBody
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.dialects.nativeframe import NativeFrameLimits
from tocsin.dialects.nativeframe.config import WebhookConfig, changes_of, parse_webhook, project_of, shown, spec_of
from tocsin.dialects.nativeframe.faults import FaultCode, InvalidFields

PATH = {"project": "pvc", "name": "hook"}
LEAST = {"event": "start", "url": "https://example.com/"}


def _parse(**members: Any) -> WebhookConfig:
    return parse_webhook(PATH, msgspec.json.encode({**LEAST, **members}), NativeFrameLimits())


def _stored(config: WebhookConfig, **changes: Any) -> Destination:
    spec = spec_of(config)
    destination = Destination(
        id=DestinationId(bytes(16)),
        organisation_id=OrganisationId(bytes(16)),
        name=spec.name,
        transport=spec.transport,
        created_ms=0,
        updated_ms=0,
        origin=spec.origin,
        address=spec.address,
        success_headers=spec.success_headers,
        filter=spec.filter,
        retry=spec.retry,
        timeout_s=spec.timeout_s,
    )
    return msgspec.structs.replace(destination, **changes)


def test_what_is_left_out_takes_its_default() -> None:
    assert _parse() == WebhookConfig(
        project="pvc",
        name="hook",
        event="start",
        url="https://example.com/",
        method="POST",
        headers={},
        attempts_max=3,
        timeout_s=5.0,
        response_headers={},
    )


def test_a_webhook_is_a_destination_for_one_event_of_one_project() -> None:
    spec = spec_of(_parse(maxAttempts=4, responseHeaders={"X-Ok": "1"}))
    assert (spec.name, spec.transport, spec.origin) == ("hook", Transport.WEBHOOK, Dialect.NATIVEFRAME)
    assert spec.filter == Filter(sources=("nativeframe/project/pvc",), types=("start",))
    assert spec.retry.schedule_s == (5.0, 10.0, 20.0)
    assert spec.success_headers == {"X-Ok": "1"}


def test_the_waits_double_from_5_s_up_to_300_s() -> None:
    assert spec_of(_parse(maxAttempts=9)).retry.schedule_s == (5, 10, 20, 40, 80, 160, 300, 300)


def test_a_webhook_is_shown_as_it_was_put() -> None:
    put = {
        "event": "start",
        "url": "https://example.com/",
        "method": "PATCH",
        "headers": {"X-Team": "a"},
        "maxAttempts": 7,
        "timeoutSeconds": 2.5,
        "responseHeaders": {"X-Ok": "1"},
    }
    assert shown(_stored(_parse(**put))) == {"project": "pvc", "name": "hook", **put}


def test_what_is_shown_may_be_put_again() -> None:
    config = _parse()
    assert _parse(**shown(_stored(config))) == config


@pytest.mark.parametrize(
    "members",
    [
        {"maxAttempts": 1},
        {"maxAttempts": 20},
        {"timeoutSeconds": 1},
        {"timeoutSeconds": 60},
        {"timeoutSeconds": 1.5},
        {"method": "DELETE"},
        {"event": "a" * 64},
        {"headers": {f"x-{number}": "" for number in range(50)}},
        {"responseHeaders": {}},
    ],
    ids=str,
)
def test_a_member_at_its_bound_is_taken(members: dict[str, Any]) -> None:
    shown_again = shown(_stored(_parse(**members)))
    assert all(shown_again[name] == value for name, value in members.items())


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        ({"maxAttempts": 0}, "maxAttempts", FaultCode.RANGE),
        ({"maxAttempts": 21}, "maxAttempts", FaultCode.RANGE),
        ({"maxAttempts": 10**30}, "maxAttempts", FaultCode.RANGE),
        ({"maxAttempts": 3.0}, "maxAttempts", FaultCode.TYPE),
        ({"maxAttempts": True}, "maxAttempts", FaultCode.TYPE),
        ({"maxAttempts": "3"}, "maxAttempts", FaultCode.TYPE),
        ({"maxAttempts": None}, "maxAttempts", FaultCode.TYPE),
        ({"timeoutSeconds": 0.9}, "timeoutSeconds", FaultCode.RANGE),
        ({"timeoutSeconds": 60.1}, "timeoutSeconds", FaultCode.RANGE),
        ({"timeoutSeconds": "5"}, "timeoutSeconds", FaultCode.TYPE),
        ({"method": "GET"}, "method", FaultCode.CHOICE),
        ({"method": "post"}, "method", FaultCode.CHOICE),
        ({"method": ["POST"]}, "method", FaultCode.CHOICE),
        ({"event": "a b"}, "event", FaultCode.PATTERN),
        ({"event": "a" * 65}, "event", FaultCode.PATTERN),
        ({"event": ""}, "event", FaultCode.TYPE),
        ({"event": 3}, "event", FaultCode.TYPE),
        ({"url": ""}, "url", FaultCode.TYPE),
        ({"url": None}, "url", FaultCode.TYPE),
        ({"headers": []}, "headers", FaultCode.TYPE),
        ({"headers": {"X-A": 1}}, "headers", FaultCode.TYPE),
        ({"headers": {f"x-{number}": "" for number in range(51)}}, "headers", FaultCode.RANGE),
        ({"headers": {"": "x"}}, "headers", FaultCode.PATTERN),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers.X-A", FaultCode.REFUSED),
        ({"headers": {"X A": "a"}}, "headers.X A", FaultCode.REFUSED),
        ({"headers": {"Host": "a"}}, "headers.Host", FaultCode.REFUSED),
        ({"headers": {"webhook-id": "a"}}, "headers.webhook-id", FaultCode.REFUSED),
        ({"headers": {"Authorization": "***"}}, "headers.Authorization", FaultCode.REFUSED),
        ({"responseHeaders": {"X-Ok": None}}, "responseHeaders", FaultCode.TYPE),
        ({"responseHeaders": {"": "x"}}, "responseHeaders", FaultCode.PATTERN),
        ({"name": "other"}, "name", FaultCode.CHOICE),
        ({"project": "other"}, "project", FaultCode.CHOICE),
        ({"retries": 3}, "retries", FaultCode.UNKNOWN),
    ],
    ids=str,
)
def test_a_member_out_of_its_bounds_is_a_fault(members: dict[str, Any], field: str, code: FaultCode) -> None:
    with pytest.raises(InvalidFields) as caught:
        _parse(**members)
    assert [(fault.name, fault.code) for fault in caught.value.faults] == [(field, code)]


def test_every_fault_of_path_and_body_is_listed() -> None:
    body = b'{"method": "GET", "maxAttempts": 0, "timeoutSeconds": 0, "headers": {"a b": ""}, "x": 1}'
    with pytest.raises(InvalidFields) as caught:
        parse_webhook({"project": "a b", "name": "a" * 65}, body, NativeFrameLimits())
    assert [(fault.name, fault.code) for fault in caught.value.faults] == [
        ("project", FaultCode.PATTERN),
        ("name", FaultCode.PATTERN),
        ("x", FaultCode.UNKNOWN),
        ("event", FaultCode.REQUIRED),
        ("url", FaultCode.REQUIRED),
        ("method", FaultCode.CHOICE),
        ("maxAttempts", FaultCode.RANGE),
        ("timeoutSeconds", FaultCode.RANGE),
        ("headers.a b", FaultCode.REFUSED),
    ]


def test_a_body_of_another_kind_is_refused() -> None:
    with pytest.raises(InvalidFields) as caught:
        parse_webhook(PATH, b"[]", NativeFrameLimits())
    assert [fault.name for fault in caught.value.faults] == ["body"]
    with pytest.raises(MalformedBody):
        parse_webhook(PATH, b"{", NativeFrameLimits())


def test_a_put_gives_a_webhook_that_was_disabled_by_itself_another_chance() -> None:
    config = _parse()
    assert changes_of(config, _stored(config, enabled=False, disabled_reason="410"))["enabled"] is True


def test_a_put_leaves_a_webhook_disabled_that_an_operator_disabled() -> None:
    config = _parse()
    assert "enabled" not in changes_of(config, _stored(config, enabled=False))


@pytest.mark.parametrize("sources", [(), ("*",), ("nativeframe/project/a", "nativeframe/project/b")])
def test_a_webhook_whose_filter_was_changed_belongs_to_no_project(sources: tuple[str, ...]) -> None:
    assert project_of(_stored(_parse(), filter=Filter(sources=sources))) is None
