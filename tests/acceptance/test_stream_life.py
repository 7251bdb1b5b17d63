"""Live streams of a real gateway that break off, go on, are bounded, and end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPException
from pathlib import Path

import pytest

from gateway import Gateway, Process
from stores import Store
from streams import Message, listening
from tenants import Tenant, tenant_of

pytestmark = pytest.mark.acceptance

PATIENCE_S = 20.0
PAUSE_S = 0.01
"""Between two looks at what only the gateway knows."""


def emit(tenant: Tenant, name: str = "order.paid", text: str = "") -> str:
    """Store an event; return its id."""
    key: str = tenant.post("/emit", {"event": name, "payload": {"text": text}})["key"]
    return f"evt_{key}"


def events(messages: list[Message]) -> list[str]:
    """Return the ids of the events that messages tell of."""
    return [each.event_id for each in messages if each.name == "event"]


def until_metric(process: Process, line: str) -> None:
    """Return once the metrics have this line."""
    waiting = threading.Event()
    for _ in range(round(PATIENCE_S / PAUSE_S)):
        if line in process.request("GET", "/metrics").body.decode().splitlines():
            return
        waiting.wait(PAUSE_S)
    pytest.fail(f"the metrics never had {line}")


# -- going on ----------------------------------------------------------------------------------------------


@pytest.fixture(name="gateway", scope="module")
def _gateway(store: Store) -> Iterator[Gateway]:
    """A gateway whose streams say often how far they have come."""
    with store.gateway_with({"TOCSIN_STREAM_KEEP_ALIVE_S": "0.05"}) as running:
        yield running


@pytest.fixture(name="tenant")
def _tenant(gateway: Gateway) -> Tenant:
    return tenant_of(gateway)


def test_a_stream_goes_on_behind_the_message_that_was_last(gateway: Gateway, tenant: Tenant) -> None:
    with listening(gateway.base_url, tenant.key) as listener:
        begin = listener.wait_begun()
        stored = [emit(tenant) for _ in range(3)]
        marks = [each.id for each in listener.until_event(stored[-1])]
    stored += [emit(tenant) for _ in range(3)]
    for query, header, wanted in (
        ({}, begin, stored),
        ({}, marks[0], stored[1:]),
        ({"last_event_id": marks[1]}, None, stored[2:]),
        # What a browser sends when it comes again: the address as it was, and the header.
        ({"last_event_id": begin}, marks[2], stored[3:]),
    ):
        with listening(gateway.base_url, tenant.key, query, last_event_id=header) as listener:
            assert events(listener.until_event(stored[-1])) == wanted
            assert "gap" not in {each.name for each in listener.messages}


def test_a_stream_that_goes_on_is_filtered_and_then_told_of_what_happens(gateway: Gateway, tenant: Tenant) -> None:
    destination = tenant.webhook(gateway.receiver_url)["id"]
    with listening(gateway.base_url, tenant.key) as listener:
        begin = listener.wait_begun()
    past = [emit(tenant, name) for name in ("a", "b", "a")]
    query = {"type": "a", "destination": destination, "data": "true"}
    with listening(gateway.base_url, tenant.key, query, last_event_id=begin) as listener:
        listener.until_event(past[2])
        last = emit(tenant, "a", "told at once")
        messages = listener.until_told(last, times=2)
    assert events(messages) == [past[0], past[2], last]
    event, delivery = [each for each in messages if each.event_id == last]
    assert (event.name, event.data["data"]) == ("event", {"text": "told at once"})
    assert (delivery.name, delivery.data["status"]) == ("delivery", "delivered")


def test_who_goes_on_sees_nothing_of_others(gateway: Gateway, tenant: Tenant) -> None:
    other = tenant_of(gateway)
    with listening(gateway.base_url, tenant.key) as listener:
        begin = listener.wait_begun()
    theirs = [emit(other) for _ in range(3)]
    mine = emit(tenant)
    theirs += [emit(other)]
    with listening(gateway.base_url, tenant.key, last_event_id=begin) as listener:
        last = emit(tenant)
        assert events(listener.until_event(last)) == [mine, last]
    assert not set(theirs) & {mine, last}


def test_a_reader_that_is_told_nothing_still_comes_forward(gateway: Gateway, tenant: Tenant) -> None:
    with (
        listening(gateway.base_url, tenant.key, {"type": "rare"}) as listener,
        listening(gateway.base_url, tenant.key) as witness,
    ):
        listener.until_comment()
        last = emit(tenant)
        (message,) = witness.until_event(last)
        assert listener.until_at(message.id) == []
        assert listener.interpreter.comments


class _Load:
    """Clients that emit events, each again until it is acknowledged, and a ledger of those."""

    def __init__(self, process: Process, key: str, clients: int) -> None:
        self._process = process
        self._key = key
        self._stopping = threading.Event()
        self.ledger: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        number = 0
        while not self._stopping.is_set():
            headers = {"X-Buildable-Secret": self._key, "Idempotency-Key": f"{client}-{number}"}
            with suppress(OSError, HTTPException):
                answer = self._process.request("POST", "/emit", {"event": "load", "payload": {}}, headers=headers)
                if answer.status == 200:
                    self.ledger.append(f"evt_{answer.json['key']}")
                    number += 1
                    continue
            self._stopping.wait(PAUSE_S)


def test_no_event_is_missed_or_told_twice_across_kills(store: Store, tmp_path: Path) -> None:
    process = Process(tmp_path / "data", store.settings())
    process.start()
    key = process.keys["api_key"]
    load = _Load(process, key, clients=4)
    told: list[str] = []
    last: str | None = None
    kills = 3
    with ExitStack() as stack:
        stack.callback(process.stop)
        with listening(process.base_url, key) as first:
            last = first.wait_begun()
        load.start()
        stack.callback(load.stop)
        for kill in range(kills + 1):
            with listening(process.base_url, key, {"kinds": "event"}, last_event_id=last) as listener:
                listener.wait_for(200, "event")
                if kill < kills:
                    process.kill()
                    told += events(listener.wait_ended())
                else:
                    load.stop()
                    told += events(listener.until_event(emit(Tenant(process, key))))
                last = listener.interpreter.last_id
                assert {each.name for each in listener.messages} == {"event"}
            if kill < kills:
                process.start()
    assert len(told) == len(set(told))
    assert len(load.ledger) > 200
    missing = set(load.ledger) - set(told)
    assert not missing


# -- gaps --------------------------------------------------------------------------------------------------


def test_who_was_away_for_too_long_is_told_that_something_is_missing(store: Store) -> None:
    with store.gateway_with({"TOCSIN_STREAM_RESUME_EVENTS_MAX": "4"}) as gateway:
        tenant = tenant_of(gateway)
        with listening(gateway.base_url, tenant.key) as listener:
            begin = listener.wait_begun()
        stored = [emit(tenant) for _ in range(9)]
        with listening(gateway.base_url, tenant.key, last_event_id=begin) as listener:
            messages = listener.until_event(stored[-1])
        assert (messages[0].name, messages[0].data) == ("gap", {"reason": "too_far_back"})
        assert events(messages) == stored[-4:]
        with listening(gateway.base_url, tenant.key, last_event_id=messages[0].id) as listener:
            again = listener.until_event(stored[-1])
        assert [each.name for each in again] == ["event"] * 4


def test_a_position_from_a_history_that_is_gone_is_told_as_a_gap(store: Store, tmp_path: Path) -> None:
    process = Process(tmp_path / "data", store.settings())
    process.start()
    tenant = Tenant(process, process.keys["api_key"])
    emit(tenant)
    process.stop()
    put_back = store.keep(process)
    process.start()
    with listening(process.base_url, tenant.key) as listener:
        mark = listener.until_event(emit(tenant))[0].id
    process.kill()
    put_back()
    process.start()
    try:
        with listening(process.base_url, tenant.key, last_event_id=mark) as listener:
            last = emit(tenant)
            messages = listener.until_event(last)
    finally:
        process.stop()
    assert (messages[0].name, messages[0].data) == ("gap", {"reason": "history_changed"})
    assert events(messages) == [last]


# -- slow readers ------------------------------------------------------------------------------------------

LONG = "x" * 60_000


def test_a_slow_reader_is_dropped_and_nobody_else_is_held_up(store: Store) -> None:
    settings = {"TOCSIN_STREAM_BACKLOG_MESSAGES_MAX": "50", "TOCSIN_STREAM_FAREWELL_S": "60"}
    with store.gateway_with(settings) as gateway, ExitStack() as stack:
        tenant = tenant_of(gateway)
        slow = stack.enter_context(listening(gateway.base_url, tenant.key, {"data": "true"}, reading=False))
        swift = stack.enter_context(listening(gateway.base_url, tenant.key))
        stored: list[str] = []
        while b'tocsin_stream_ends_total{reason="slow_reader"} 1.0' not in metrics(gateway):
            stored += [emit(tenant, text=LONG) for _ in range(20)]
            assert len(stored) < 2_000, "it is never dropped"
        assert events(swift.until_event(stored[-1])) == stored
        slow.read()
        *heard, last = slow.wait_ended()
        assert (last.name, last.data, slow.cut) == ("dropped", {"reason": "slow_reader"}, False)
        assert 0 < len(heard) < len(stored)
        assert events(heard) == stored[: len(heard)]
        with listening(gateway.base_url, tenant.key, last_event_id=last.id) as again:
            assert events(again.until_event(stored[-1])) == stored[len(heard) :]
        stored.append(emit(tenant))
        swift.until_event(stored[-1])


def test_a_slow_reader_that_does_not_take_its_farewell_is_cut_off(store: Store) -> None:
    settings = {"TOCSIN_STREAM_BACKLOG_BYTES_MAX": "100000", "TOCSIN_STREAM_FAREWELL_S": "0.05"}
    with store.gateway_with(settings) as gateway:
        tenant = tenant_of(gateway)
        with listening(gateway.base_url, tenant.key, {"data": "true"}, reading=False) as slow:
            while b"tocsin_streams 0.0" not in metrics(gateway):
                emit(tenant, text=LONG)
            slow.read()
            messages = slow.wait_ended()
            assert slow.cut
            assert {each.name for each in messages} == {"event"}


def metrics(gateway: Gateway) -> bytes:
    """Return the metrics."""
    return gateway.process.request("GET", "/metrics").body


# -- bounds and ends ---------------------------------------------------------------------------------------


def test_streams_are_bounded_for_each_organisation_and_in_all(store: Store) -> None:
    settings = {"TOCSIN_STREAM_PER_ORGANISATION_MAX": "2", "TOCSIN_STREAM_STREAMS_MAX": "3"}
    with store.gateway_with(settings) as gateway, ExitStack() as stack:
        one, two = tenant_of(gateway), tenant_of(gateway)
        first = stack.enter_context(listening(gateway.base_url, one.key))
        for tenant in (one, two):
            stack.enter_context(listening(gateway.base_url, tenant.key))
        refused = one.ask("GET", "/api/v1/stream")
        assert (refused.status, refused.json["code"]) == (429, "too_many_streams")
        full = two.ask("GET", "/api/v1/stream")
        assert (full.status, full.json["code"]) == (503, "streams_full")
        assert {int(each.headers["retry-after"]) for each in (refused, full)} == {5}
        first.close()
        until_metric(gateway.process, "tocsin_streams 2.0")
        with listening(gateway.base_url, two.key) as again:
            assert again.status == 200


def test_a_reader_that_leaves_is_forgotten(gateway: Gateway, tenant: Tenant) -> None:
    for _ in range(40):  # more than one organisation may have at once
        with listening(gateway.base_url, tenant.key) as listener:
            assert listener.status == 200
        until_metric(gateway.process, "tocsin_streams 0.0")


def test_a_revoked_key_ends_its_streams_and_no_others(gateway: Gateway, tenant: Tenant) -> None:
    made = tenant.post("/api/v1/keys", {"name": "reader", "scopes": ["read"]})
    with (
        listening(gateway.base_url, made["key"]) as revoked,
        listening(gateway.base_url, tenant.key) as other,
    ):
        assert tenant.ask("DELETE", f"/api/v1/keys/{made['id']}").status < 300
        (bye,) = revoked.wait_ended()
        assert (bye.name, bye.data, revoked.cut) == ("bye", {"reason": "key_revoked"}, False)
        other.until_event(emit(tenant))
    assert tenant.process.request("GET", "/api/v1/stream", key=made["key"]).status == 401


def test_a_shutdown_says_goodbye_and_waits_for_no_reader(store: Store, tmp_path: Path) -> None:
    process = Process(tmp_path / "data", store.settings())
    process.start()
    tenant = Tenant(process, process.keys["api_key"])
    with (
        listening(process.base_url, tenant.key) as listener,
        listening(process.base_url, tenant.key, reading=False),
    ):
        event_id = emit(tenant)
        listener.until_event(event_id)
        assert process.stop() == 0
        *_, bye = listener.wait_ended()
        assert (bye.name, bye.data, listener.cut) == ("bye", {"reason": "shutdown"}, False)
    process.start()
    try:
        with listening(process.base_url, tenant.key, last_event_id=bye.id) as again:
            last = emit(tenant)
            assert events(again.until_event(last)) == [last]
    finally:
        process.stop()


def test_a_stopped_gateway_does_not_wait_for_a_reader_that_is_stuck(store: Store) -> None:
    with store.gateway_with({}) as gateway:
        tenant = tenant_of(gateway)
        with listening(gateway.base_url, tenant.key, {"data": "true"}, reading=False):
            for _ in range(100):
                emit(tenant, text=LONG)
            assert gateway.process.stop() == 0
            gateway.process.start()
