"""Bodies of destinations: every member at its bounds, every fault named, secrets kept or dropped as asked."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tocsin.core.delivery import DeliveryPhase
from tocsin.core.destination import Destination, Filter, Format, Transport
from tocsin.core.errors import InvalidRequest
from tocsin.core.event import Dialect, Severity
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.retry import NATIVE, PRESETS, PROMPTJANG, RetryPolicy, nativeframe
from tocsin.dialects.native.destination_body import DestinationBodies, filter_shown, retry_shown
from tocsin.dialects.native.limits import NativeLimits
from tocsin.pipeline.destinations import DestinationBounds

BODIES = DestinationBodies(limits=NativeLimits(), bounds=DestinationBounds())
WEBHOOK: dict[str, Any] = {"name": "hook", "transport": "webhook", "address": {"url": "https://example.com/"}}
BEFORE = Destination(
    id=DestinationId(bytes(16)),
    organisation_id=OrganisationId(bytes(16)),
    name="hook",
    transport=Transport.WEBHOOK,
    created_ms=0,
    updated_ms=0,
    address={"url": "https://example.com/", "method": "POST", "headers": {"X-A": "***", "X-B": "***"}},
)
DISCORD = msgspec.structs.replace(BEFORE, transport=Transport.DISCORD, address={"webhook_url": "***"})
BOT = msgspec.structs.replace(BEFORE, transport=Transport.DISCORD, address={"bot_token": "***", "user_id": "42"})


def creation(**members: Any) -> Any:
    return BODIES.creation(json.dumps(WEBHOOK | members).encode())


def change(before: Destination = BEFORE, **members: Any) -> dict[str, Any]:
    return BODIES.change(json.dumps(members).encode(), before)


def faulty_names(body: dict[str, Any]) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        BODIES.creation(json.dumps(body).encode())
    return [name for name, _ in raised.value.fields]


def faults_of_change(before: Destination = BEFORE, **members: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as raised:
        change(before, **members)
    return [name for name, _ in raised.value.fields]


# -- creation ----------------------------------------------------------------------------------------------


def test_what_is_left_out_takes_the_default() -> None:
    spec = creation()

    assert spec.name == "hook"
    assert spec.origin is Dialect.TOCSIN
    assert spec.filter == Filter()
    assert spec.format is Format.RAW
    assert spec.retry == NATIVE
    assert spec.rate_per_s is None


def test_every_member_is_read() -> None:
    spec = creation(
        description="what it is for",
        filter={"dialects": ["pushgo"], "sources": ["pushgo/*"], "types": ["event.*"], "severities": ["high"]},
        format="cloudevents",
        retry="promptjang",
        timeout_s=60,
        rate_per_s=0.5,
        concurrency=256,
        ordered=True,
        enabled=False,
    )

    assert spec.filter == Filter(
        dialects=(Dialect.PUSHGO,), sources=("pushgo/*",), types=("event.*",), severities=(Severity.HIGH,)
    )
    assert (spec.format, spec.retry, spec.timeout_s) == (Format.CLOUDEVENTS, PROMPTJANG, 60.0)
    assert (spec.rate_per_s, spec.concurrency, spec.ordered, spec.enabled) == (0.5, 256, True, False)


def test_all_faults_are_told_at_once() -> None:
    assert faulty_names(
        {"transport": "pigeon", "address": {}, "timeout_s": 61, "filter": {"types": [1]}, "x": 1}
    ) == [
        "x",
        "name",
        "filter.types[0]",
        "timeout_s",
        "transport",
    ]


@pytest.mark.parametrize("where", [1, True, {}, ["a"]])
def test_a_condition_on_the_data_is_a_text_or_null(where: Any) -> None:
    assert faulty_names(WEBHOOK | {"filter": {"where": where}}) == ["filter.where"]


@pytest.mark.parametrize("where", [None, "amount > `100`", " a "])
def test_a_condition_is_kept_as_it_is_written(where: str | None) -> None:
    spec = creation(filter={"where": where})
    assert spec.filter == Filter(where=where)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("name", ""),
        ("name", "a" * 129),
        ("name", "a\nb"),
        ("description", "a" * 1001),
        ("description", None),
        ("format", "xml"),
        ("timeout_s", 0.09),
        ("timeout_s", 60.1),
        ("timeout_s", "15"),
        ("rate_per_s", 0),
        ("rate_per_s", 10_001),
        ("concurrency", 0),
        ("concurrency", 257),
        ("concurrency", 1.5),
        ("ordered", "yes"),
        ("enabled", None),
        ("paused", True),
        ("filter", []),
        ("retry", "never"),
        ("retry", {}),
        ("retry", 5),
        ("secret", "whsec_x"),
    ],
)
def test_a_faulty_member_is_named(member: str, value: Any) -> None:
    assert faulty_names(WEBHOOK | {member: value}) == [member]


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ("default", NATIVE),
        ({"preset": "nativeframe"}, PRESETS["nativeframe"]),
        ({"preset": "promptjang", "jitter": 0.5}, RetryPolicy(PROMPTJANG.schedule_s, 0.5, PROMPTJANG.delay_max_s)),
        ({"schedule_s": []}, RetryPolicy(())),
        ({"schedule_s": [1, 2.5], "jitter": 0}, RetryPolicy((1.0, 2.5), 0.0)),
        ({"schedule_s": [1], "preset": None}, RetryPolicy((1.0,))),
        ({"schedule_s": [0] * 50}, RetryPolicy((0.0,) * 50)),
        # A wait that the schedule asks for is not cut short by the bound for what receivers ask for.
        ({"schedule_s": [604_800]}, RetryPolicy((604_800.0,), delay_max_s=604_800.0)),
    ],
)
def test_a_schedule_is_read(given: Any, policy: RetryPolicy) -> None:
    assert creation(retry=given).retry == policy


@pytest.mark.parametrize("policy", [NATIVE, PROMPTJANG, nativeframe(3), RetryPolicy(())])
def test_a_schedule_is_read_as_it_is_shown(policy: RetryPolicy) -> None:
    assert creation(retry=retry_shown(policy)).retry == policy


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"schedule_s": [0] * 51}, "retry.schedule_s"),
        ({"schedule_s": [604_801]}, "retry.schedule_s[0]"),
        ({"schedule_s": [-1]}, "retry.schedule_s[0]"),
        ({"schedule_s": [1], "jitter": 1.1}, "retry.jitter"),
        ({"preset": "default", "schedule_s": [1]}, "retry"),
        ({"preset": "never"}, "retry.preset"),
        ({"schedule_s": [1], "delay_max_s": 5}, "retry.delay_max_s"),
    ],
)
def test_a_faulty_schedule_is_named(given: Any, name: str) -> None:
    assert faulty_names(WEBHOOK | {"retry": given}) == [name]


def test_a_filter_is_read_as_it_is_shown() -> None:
    wanted = Filter(dialects=(Dialect.PUSHGO,), types=("a.*",), severities=(Severity.LOW,))
    assert creation(filter=filter_shown(wanted)).filter == wanted


# -- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "address"),
    [
        ("webhook", {"url": "https://example.com/", "method": "PUT", "headers": {"X-A": "1"}}),
        ("discord", {"webhook_url": "https://discord.com/api/webhooks/1/a"}),
        ("discord", {"bot_token": "a.b", "user_id": "42"}),
        ("telegram", {"bot_token": "1:a"}),
        ("telegram", {"bot_token": "1:a", "chat_id": -42}),
        ("apprise", {"service": "ops"}),
        ("telegram", {"bot_token": "1:a", "chat_id": "@here"}),
        ("mailbox", {"device_key": "d"}),
    ],
)
def test_an_address_of_its_transport_is_read(transport: str, address: dict[str, Any]) -> None:
    assert creation(transport=transport, address=address).address == address


def test_mail_addresses_are_read() -> None:
    assert creation(transport="email", address={"to": ["a@example.com"]}).address == {"to": ("a@example.com",)}


@pytest.mark.parametrize(
    ("transport", "address", "names"),
    [
        ("webhook", {}, ["address.url"]),
        ("webhook", [], ["address"]),
        ("webhook", {"url": ""}, ["address.url"]),
        ("webhook", {"url": "a" * 2049}, ["address.url"]),
        ("webhook", {"url": "u", "method": "GET"}, ["address.method"]),
        ("webhook", {"url": "u", "port": 1, "headers": 3}, ["address.port", "address.headers"]),
        ("webhook", {"url": "u", "headers": {"Host": "a", "X-A": 3, "X-B": "\n"}}, None),
        ("webhook", {"url": "u", "headers": {"X-A": "***"}}, ["address.headers.X-A"]),
        ("webhook", {"url": "u", "headers": {f"X-{n}": "" for n in range(51)}}, ["address.headers"]),
        ("webhook", {"webhook_url": "https://example.com/"}, ["address.webhook_url", "address.url"]),
        ("discord", {}, ["address"]),
        ("discord", {"bot_token": "a"}, ["address"]),
        ("discord", {"webhook_url": "***"}, ["address.webhook_url"]),
        ("discord", {"webhook_url": "https://a/", "bot_token": "a", "user_id": "4"}, ["address"]),
        ("discord", {"webhook_url": 5}, ["address.webhook_url"]),
        ("discord", {"webhook_url": "ftp://a/"}, ["address.webhook_url"]),
        ("telegram", {"chat_id": 42}, ["address.bot_token"]),
        ("apprise", {}, ["address.service"]),
        ("apprise", {"service": "***"}, ["address.service"]),
        ("apprise", {"service": "ops", "url": "json://host"}, ["address.url"]),
        ("telegram", {"bot_token": "a b", "chat_id": True}, ["address.bot_token", "address.chat_id"]),
        ("telegram", {"bot_token": "1:a", "chat_id": "here"}, ["address.chat_id"]),
        ("email", {"to": []}, ["address.to"]),
        ("email", {"to": "a@example.com"}, ["address.to"]),
        ("email", {"to": ["a@example.com", "b", 3]}, ["address.to[1]", "address.to[2]"]),
        ("email", {"to": ["a@example.com"] * 21}, ["address.to"]),
        ("email", {"to": ["stra\xdfe@example.com", "a@stra\xdfe.example"]}, ["address.to[1]"]),
        ("mailbox", {"device_key": " "}, ["address.device_key"]),
        ("mailbox", {"device_key": "d", "url": "u"}, ["address.url"]),
    ],
)
def test_a_faulty_address_is_named(transport: str, address: Any, names: list[str] | None) -> None:
    expected = names or ["address.headers.Host", "address.headers.X-A", "address.headers.X-B"]
    found = faulty_names(WEBHOOK | {"transport": transport, "address": address})
    assert sorted(found) == sorted(expected)


# -- change ------------------------------------------------------------------------------------------------


def test_only_what_is_given_changes() -> None:
    assert change() == {}
    assert change(paused=True, rate_per_s=None) == {"paused": True, "rate_per_s": None}


def test_the_transport_stays() -> None:
    assert change(transport="webhook") == {}
    assert faults_of_change(transport="mailbox") == ["transport"]


def test_headers_given_as_they_are_shown_stay() -> None:
    given = {"url": "https://example.org/", "headers": {"X-A": "***", "X-B": "***"}}
    assert change(address=given)["address"] == {"url": "https://example.org/"}


def test_headers_cannot_be_kept_one_by_one() -> None:
    given = {"url": "https://example.org/", "headers": {"X-A": "***", "X-B": "new"}}
    assert faults_of_change(address=given) == ["address.headers.X-A"]


def test_an_address_is_replaced_as_a_whole_but_for_its_secrets() -> None:
    assert faults_of_change(address={"method": "PUT"}) == ["address.url"]
    assert change(BOT, address={"user_id": "43"})["address"] == {"user_id": "43"}
    assert change(BOT, address={"user_id": "43", "bot_token": "***"})["address"] == {"user_id": "43"}
    assert faults_of_change(BOT, address={"bot_token": "a"}) == ["address"]


def test_a_secret_of_another_form_of_address_goes() -> None:
    given = {"bot_token": "a", "user_id": "42"}
    assert change(DISCORD, address=given)["address"] == {**given, "webhook_url": None}


def test_a_name_by_which_its_own_routes_find_it_stays() -> None:
    webhook = msgspec.structs.replace(BEFORE, origin=Dialect.NATIVEFRAME)
    assert change(webhook, name="hook") == {"name": "hook"}
    assert faults_of_change(webhook, name="other") == ["name"]
    assert change(msgspec.structs.replace(BEFORE, origin=Dialect.PROMPTJANG), name="other") == {"name": "other"}


def test_all_faults_of_a_change_are_told_at_once() -> None:
    webhook = msgspec.structs.replace(BEFORE, origin=Dialect.NATIVEFRAME)
    names = faults_of_change(webhook, name="other", transport="email", address={}, retry=1, colour=2)
    assert sorted(names) == ["address.url", "colour", "name", "retry", "transport"]


# -- recovering --------------------------------------------------------------------------------------------


def test_a_recovery_takes_what_failed_unless_told_otherwise() -> None:
    wanted = BODIES.recovering(b'{"since": "2026-05-26T12:00:00Z"}')
    assert (wanted.since_ms, wanted.until_ms) == (1_779_796_800_000, None)
    assert wanted.phases == {DeliveryPhase.EXPIRED}


@pytest.mark.parametrize(
    ("status", "phases"),
    [
        ("failed", {DeliveryPhase.EXPIRED}),
        ("EXPIRED", {DeliveryPhase.EXPIRED}),
        (["failed", "cancelled"], {DeliveryPhase.EXPIRED, DeliveryPhase.CANCELLED}),
        ("failed, delivered", {DeliveryPhase.EXPIRED, DeliveryPhase.DELIVERED}),
    ],
)
def test_a_recovery_may_name_what_it_takes(status: Any, phases: set[DeliveryPhase]) -> None:
    body = json.dumps({"since": 0, "until": 1, "status": status}).encode()
    assert BODIES.recovering(body).phases == phases


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, ["since"]),
        ({"since": "x", "until": "y", "status": "queued", "z": 1}, ["z", "since", "until", "status"]),
        ({"since": 0, "status": []}, ["status"]),
        ({"since": 0, "status": [1]}, ["status"]),
    ],
)
def test_a_faulty_recovery_is_refused(body: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        BODIES.recovering(json.dumps(body).encode())
    assert [name for name, _ in raised.value.fields] == names
