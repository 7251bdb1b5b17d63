"""The live stream of a real gateway: what is told, and to whom."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import Gateway
from stores import Store
from streams import Listener, Message, listening
from tenants import PASSWORD, Tenant, incident, signed, tenant_of

pytestmark = pytest.mark.acceptance


@pytest.fixture(name="gateway", scope="module")
def _gateway(store: Store) -> Iterator[Gateway]:
    """A gateway whose streams say often how far they have come."""
    with store.gateway_with({"TOCSIN_STREAM_KEEP_ALIVE_S": "0.05"}) as running:
        yield running


@pytest.fixture(name="tenant")
def _tenant(gateway: Gateway) -> Tenant:
    return tenant_of(gateway)


def emit(tenant: Tenant, name: str = "order.paid", **payload: Any) -> str:
    """Store an event; return its id."""
    key: str = tenant.post("/emit", {"event": name, "payload": payload})["key"]
    return f"evt_{key}"


def events(messages: list[Message]) -> list[str]:
    """Return the ids of the events that messages tell of."""
    return [each.event_id for each in messages if each.name == "event"]


def mark_of(listener: Listener, event_id: str) -> str:
    """Return the position of an event, as a stream that is told of everything says it."""
    return next(each.id for each in listener.until_event(event_id) if each.event_id == event_id)


# -- events ------------------------------------------------------------------------------------------------


def test_an_event_is_told_as_it_was_accepted(gateway: Gateway, tenant: Tenant) -> None:
    before = emit(tenant)
    with listening(gateway.base_url, tenant.key) as listener:
        assert listener.headers["content-type"] == "text/event-stream"
        assert listener.headers["cache-control"] == "no-store"
        assert listener.interpreter.retry_ms == 3000
        event_id = emit(tenant, "order.paid", amount=12)
        (message,) = listener.until_event(event_id)
    assert before != event_id
    listed = tenant.get("/api/v1/events")["events"][0]
    times = {name: message.data[name] for name in ("time", "created_at")}
    assert message.data == {
        "id": listed["id"],
        "dialect": "buildable",
        "source": "buildable",
        "type": listed["event_type"],
        "subject": None,
        "severity": None,
        "environment": "live",
        "replay_of": None,
        **times,
    }
    assert times["created_at"][:19] == listed["created_at"][:19]


def test_the_data_is_told_to_who_asks_for_it_as_it_was_sent(gateway: Gateway, tenant: Tenant) -> None:
    endpoint = tenant.endpoint(gateway.receiver_url)
    body = b'{\r\n  "event_type": "a",\n\n "number": 12345678901234567890,\r "text": "\xc3\xa9\\n"}'
    with (
        listening(gateway.base_url, tenant.key, {"data": "true"}) as full,
        listening(gateway.base_url, tenant.key, {"data": "false"}) as short,
    ):
        tenant.post(f"/e/{endpoint['id']}", body, signed(endpoint["secret"], body))
        assert full.wait_for(1, "event")[0].data["data"] == json.loads(body)
        assert "data" not in short.wait_for(1, "event")[0].data


def test_the_events_of_an_endpoint_are_its_own_whoever_else_calls_his_so(gateway: Gateway, tenant: Tenant) -> None:
    endpoint = tenant.endpoint(gateway.receiver_url)
    event = {"specversion": "1.0", "id": "1", "type": "a", "source": f"promptjang/endpoint/{endpoint['id']}"}
    body = b'{"event_type": "a"}'
    with listening(gateway.base_url, tenant.key, {"endpoint_id": endpoint["id"], "kinds": "event"}) as listener:
        tenant.post("/api/v1/cloudevents", event, {"Content-Type": "application/cloudevents+json"})
        told = tenant.post(f"/e/{endpoint['id']}", body, signed(endpoint["secret"], body))["id"]
        assert events(listener.until_event(told)) == [told]


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"], ids=repr)
def test_raw_data_are_told_byte_for_byte(gateway: Gateway, tenant: Tenant, ends: str) -> None:
    body = f' {{{ends}"a": 1.50 }}{ends}'.encode()
    with listening(gateway.base_url, tenant.key, {"data": "raw"}) as listener:
        tenant.post("/events/v2/projects/shop/events/paid", body)
        (message,) = listener.wait_for(1, "event")
    assert (message.data["content_type"], b64decode(message.data["data_base64"])) == ("application/json", body)
    assert "data" not in message.data
    answer = tenant.ask("GET", f"/api/v1/events/{message.event_id}/data")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "application/json", body)
    assert (answer.headers["content-disposition"], answer.headers["content-security-policy"]) == (
        "attachment",
        "sandbox",
    )


def test_events_of_all_dialects_are_told_in_their_order(gateway: Gateway, tenant: Tenant) -> None:
    channel = tenant.channel()
    with listening(gateway.base_url, tenant.key, {"data": "true"}) as listener:
        created = tenant.post("/event/create", incident(channel))["data"]["event_id"]
        tenant.post("/events/v2/projects/shop/events/paid", {"a": 1})
        messages = listener.until_event(emit(tenant))
    assert [each.data["dialect"] for each in messages] == ["pushgo", "nativeframe", "buildable"]
    assert (messages[0].data["subject"], messages[0].data["severity"]) == (created, "high")
    assert PASSWORD not in json.dumps([each.data for each in messages])


ALL = ["created", "paid", "shipped"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, ALL),
        ({"kinds": "event"}, ALL),
        ({"kinds": "delivery,event"}, ALL),
        ({"dialect": "pushgo"}, ["created"]),
        ({"dialect": "buildable"}, ["paid", "shipped"]),
        ({"source": "pushgo/channel/*"}, ["created"]),
        ({"source": "buildable"}, ["paid", "shipped"]),
        ({"source": "pushgo"}, []),
        ({"type": "order.*"}, ["paid", "shipped"]),
        ({"type": "order.[p]aid"}, ["paid"]),
        ({"type": "order.shippe?"}, ["shipped"]),
        ({"type": "order"}, []),
        ({"type": "order.*", "dialect": "pushgo"}, []),
        ({"severity": "high"}, ["created"]),
        ({"severity": "low"}, []),
        ({"subject": "*"}, ["created"]),
        ({"destination": "{few}"}, ["created"]),
        ({"destination": "dst_" + "0" * 32}, []),
        ({"type": "order.paid,event.*"}, ["created", "paid"]),
        ({"event_type": "order.paid,order.lost"}, ["paid"]),
        ({"type": "order.*", "event_type": "order.paid"}, ["paid"]),
        ({"dialect": "pushgo,buildable", "severity": "high,low"}, ["created"]),
        ({"endpoint_id": "ep_" + "0" * 32}, []),
        ({"q": "NOTE of paid"}, ["paid"]),
        ({"q": "note of", "type": "order.shipped"}, ["shipped"]),
        ({"q": "nowhere"}, []),
    ],
    ids=str,
)
def test_a_filter_tells_of_what_it_names_and_of_nothing_else(
    gateway: Gateway, tenant: Tenant, query: dict[str, str], wanted: list[str]
) -> None:
    few = {"transport": "webhook", "address": {"url": gateway.receiver_url}, "filter": {"dialects": ["pushgo"]}}
    made = tenant.post("/api/v1/destinations", {"name": "few", **few})["id"]
    channel = tenant.channel()
    query = {name: value.replace("{few}", made) for name, value in query.items()}
    with (
        listening(gateway.base_url, tenant.key, query) as listener,
        listening(gateway.base_url, tenant.key) as witness,
    ):
        ids = {"created": f"evt_{tenant.post('/event/create', incident(channel))['data']['event_id']}"}
        ids |= {name: emit(tenant, f"order.{name}", text=f"Note of {name}") for name in ("paid", "shipped")}
        found = listener.until_at(mark_of(witness, ids["shipped"]))
    assert events(found) == [ids[name] for name in wanted]


def test_each_half_and_each_organisation_hears_of_its_own_alone(gateway: Gateway) -> None:
    names = gateway.new_organisation()
    live, test = (Tenant(gateway.process, names[name]) for name in ("key", "test_key"))
    other = tenant_of(gateway)
    for each in (live, other):
        each.webhook(gateway.receiver_url)
    tenants = (live, test, other)
    streams = [listening(gateway.base_url, each.key) for each in tenants]
    with streams[0] as of_live, streams[1] as of_test, streams[2] as of_other:
        stored = [[emit(each), emit(each)] for each in (*tenants, *tenants)]
        mine = [stored[at] + stored[at + 3] for at in range(3)]
        heard = [
            listener.until_told(ids[-1], times=2)
            for listener, ids in zip((of_live, of_test, of_other), mine, strict=True)
        ]
    for messages, ids in zip(heard, mine, strict=True):
        assert events(messages) == ids
        assert {each.event_id for each in messages if each.name == "delivery"} == set(ids)


def test_a_position_says_nothing_of_other_organisations(gateway: Gateway, tenant: Tenant) -> None:
    other = tenant_of(gateway)
    with (
        listening(gateway.base_url, tenant.key) as listener,
        listening(gateway.base_url, other.key) as others,
    ):
        mark = mark_of(listener, emit(tenant))
        theirs = mark_of(others, emit(other))
    assert mark.startswith("pos_")
    assert mark[:20] != theirs[:20]
    refused = tenant.ask("GET", f"/api/v1/stream?last_event_id={theirs}")
    assert (refused.status, refused.json["fields"][0]["name"]) == (400, "last_event_id")


# -- deliveries --------------------------------------------------------------------------------------------


def test_a_delivery_is_told_as_it_is_listed_behind_its_event(gateway: Gateway, tenant: Tenant) -> None:
    destination = tenant.webhook(gateway.receiver_url)
    with listening(gateway.base_url, tenant.key) as listener:
        event_id = emit(tenant)
        event, delivery = listener.wait_for(2)
    assert (event.name, delivery.name) == ("event", "delivery")
    assert delivery.id == event.id
    (listed,) = tenant.get("/api/v1/deliveries")["deliveries"]
    shown = dict(delivery.data)
    attempt = shown.pop("attempt")
    # When exactly it was written down, only the store knows.
    finished = [each.pop("finished_at") for each in (listed, shown)]
    assert shown == listed
    assert None not in finished
    assert (shown["status"], shown["destination"]["id"]) == ("delivered", destination["id"])
    assert delivery.event_id == event_id
    assert (attempt["number"], attempt["status_code"], attempt["error_class"]) == (1, 200, None)


def test_every_failed_attempt_is_told_and_when_the_next_one_is_due(gateway: Gateway, tenant: Tenant) -> None:
    tenant.post(
        "/api/v1/destinations",
        {
            "name": "down",
            "transport": "webhook",
            "address": {"url": f"{gateway.receiver_url}/status/503"},
            "retry": {"schedule_s": [0.05, 0.05], "jitter": 0},
        },
    )
    with listening(gateway.base_url, tenant.key, {"kinds": "delivery"}) as listener:
        emit(tenant)
        messages = listener.wait_for(3)
    assert {each.name for each in messages} == {"delivery"}
    told = [each.data for each in messages]
    assert [each["status"] for each in told] == ["retrying", "retrying", "failed"]
    assert [each["attempts_made"] for each in told] == [1, 2, 3]
    assert [each["attempt"]["number"] for each in told] == [1, 2, 3]
    assert {(each["attempt"]["error_class"], each["attempt"]["status_code"]) for each in told} == {("status", 503)}
    assert [each["next_attempt_at"] is None for each in told] == [False, False, True]
    assert [each["finished_at"] is None for each in told] == [True, True, False]


def test_deliveries_are_filtered_by_their_own_destination(gateway: Gateway, tenant: Tenant) -> None:
    one, two = (tenant.webhook(gateway.receiver_url, name)["id"] for name in ("one", "two"))
    with (
        listening(gateway.base_url, tenant.key, {"kinds": "delivery", "destination": two}) as listener,
        listening(gateway.base_url, tenant.key, {"kinds": "delivery", "type": "second"}) as by_type,
    ):
        emit(tenant, "first")
        last = emit(tenant, "second")
        heard = listener.until(lambda messages: messages != [] and messages[-1].event_id == last)
        typed = by_type.wait_for(2)
    assert [each.data["destination"]["id"] for each in heard] == [two, two]
    assert {each.event_id for each in typed} == {last}
    assert {each.data["destination"]["id"] for each in typed} == {one, two}


# -- faults of the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("kinds=events", "kinds"),
        ("kinds=", "kinds"),
        ("kinds=event,,delivery", "kinds"),
        ("dialect=smtp", "dialect"),
        ("severity=urgent", "severity"),
        ("destination=dst_1", "destination"),
        ("type=", "type"),
        ("type=" + "a" * 401, "type"),
        ("type=a,,b", "type"),
        ("type=" + "a," * 20 + "a", "type"),
        ("type=[a", "type"),
        ("q=", "q"),
        ("q=" + "a" * 201, "q"),
        ("endpoint_id=ep_1", "endpoint_id"),
        ("status=DELIVERED", "status"),
        ("since=2026-03-06T10:30:00Z", "since"),
        ("data=yes", "data"),
        ("types=a", "types"),
        ("type=a&type=b", "type"),
        ("last_event_id=1", "last_event_id"),
        ("last_event_id=pos_" + "0" * 32, "last_event_id"),
        ("last_event_id=evt_" + "0" * 32, "last_event_id"),
    ],
)
def test_a_faulty_query_is_refused_by_name(tenant: Tenant, query: str, name: str) -> None:
    answer = tenant.ask("GET", f"/api/v1/stream?{query}")
    assert answer.status == 400
    assert [each["name"] for each in answer.json["fields"]] == [name]


def test_filters_that_no_event_can_match_are_refused_and_not_silent(tenant: Tenant) -> None:
    answer = tenant.ask("GET", "/api/v1/stream?type=a&event_type=b&q=text")
    assert (answer.status, answer.json["detail"]) == (
        400,
        "type with event_type with q matches no event that there can be",
    )
    assert [each["name"] for each in answer.json["fields"]] == ["type", "event_type", "q"]


def test_a_faulty_header_is_refused_and_an_empty_one_is_none(gateway: Gateway, tenant: Tenant) -> None:
    answer = tenant.ask("GET", "/api/v1/stream", headers={"Last-Event-ID": "\u00e9"})
    assert (answer.status, answer.json["fields"][0]["name"]) == (400, "last_event_id")
    with listening(gateway.base_url, tenant.key, {"last_event_id": ""}, last_event_id="") as listener:
        assert listener.status == 200


def test_head_tells_the_same_and_ends(gateway: Gateway, tenant: Tenant) -> None:
    answer = tenant.ask("HEAD", "/api/v1/stream")
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/event-stream", b"")
    assert "tocsin_streams 0.0" in gateway.process.request("GET", "/metrics").body.decode()
