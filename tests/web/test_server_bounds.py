"""The HTTP server on real sockets: how much it takes, whom it waits for how long, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from serving import Gate, Served, route, served
from tocsin.web.http import Request, Response
from tocsin.web.server import ServerLimits
from wire import Wire, request, wire

HASTY = ServerLimits(
    head_deadline_s=0.3,
    body_deadline_s=0.3,
    head_bytes_max=4096,
    headers_max=20,
    pipelined_max=4,
    idle_s=0.3,
    unread_s=0.3,
    drain_s=0.05,
    shutdown_s=0.3,
)
BIG = b"x" * 8_000_000
CHUNKED = "Transfer-Encoding: chunked"


async def big(_request: Request) -> Response:
    return Response(status=200, body=BIG)


@pytest.fixture(name="hasty", scope="module")
def _hasty() -> Iterator[Served]:
    routes = (route("GET", "/echo"), route("POST", "/echo"), route("GET", "/big", big))
    with served(*routes, limits=HASTY) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET", "/echo", *(f"X-{number}: a" for number in range(19))), 200),
        (request("GET", "/echo", *(f"X-{number}: a" for number in range(20))), 431),
        (request("GET", "/echo", f"X: {'a' * 3900}"), 200),
        (request("GET", "/echo", f"X: {'a' * 4096}"), 431),
        (request("GET", f"/echo?{'a' * 3900}"), 200),
        (request("GET", f"/echo?{'a' * 4096}"), 431),
        (request("POST", "/echo", CHUNKED) + b"0\r\n" + b"X: a\r\n" * 4000 + b"\r\n", 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_head_has_its_bounds(hasty: Served, sent: bytes, status: int) -> None:
    with wire(hasty.base_url) as client:
        client.send(sent)
        assert client.reply().status == status


def too_slow(client: Wire) -> None:
    """Expect a 408 and the end."""
    answer = client.reply()
    assert (answer.status, answer.ends_connection) == (408, True)
    assert client.is_closed()


@pytest.mark.parametrize("sent", [b"G", b"GET /echo HTTP/1.1\r\n", request("GET", "/echo")[:-2]])
def test_a_head_that_does_not_end_is_not_waited_for(hasty: Served, sent: bytes) -> None:
    with wire(hasty.base_url) as client:
        client.send(sent)
        too_slow(client)
    with wire(hasty.base_url) as client:
        client.send(request("GET", "/echo"))
        assert client.reply().status == 200
        client.send(sent)
        too_slow(client)


@pytest.mark.parametrize(
    "sent",
    [
        request("POST", "/echo", "Content-Length: 10"),
        request("POST", "/echo", "Content-Length: 10") + b"{",
        request("POST", "/echo", CHUNKED),
        request("POST", "/echo", CHUNKED) + b"2\r\n{",
        request("POST", "/echo", CHUNKED) + b"0\r\n",
    ],
)
def test_a_body_that_does_not_end_is_not_waited_for(hasty: Served, sent: bytes) -> None:
    with wire(hasty.base_url) as client:
        client.send(sent)
        too_slow(client)


@pytest.mark.parametrize("sent", [b"", b"\r\n", request("GET", "/echo"), request("GET", "/echo") + b"\r\n"])
def test_an_idle_connection_is_closed(hasty: Served, sent: bytes) -> None:
    with wire(hasty.base_url) as client:
        client.send(sent)
        if b"GET" in sent:
            assert client.reply().status == 200
        assert client.is_closed()


def wait_for_places(running: Served, count: int) -> None:
    """Return once so many connections can be had at the same time."""

    def is_served(_number: int) -> bool:
        with wire(running.base_url) as client:
            client.send(request("GET", "/echo"))
            status = client.reply().status
            barrier.wait(5)
            return status == 200

    barrier = threading.Barrier(count)
    deadline_s = time.monotonic() + 10
    with ThreadPoolExecutor(count) as pool:
        while not all(pool.map(is_served, range(count))):
            assert time.monotonic() < deadline_s, "a connection is held"


@pytest.fixture(name="narrow")
def _narrow() -> Iterator[Served]:
    limits = msgspec.structs.replace(HASTY, connections_max=3)
    with served(route("GET", "/echo"), route("GET", "/big", big), limits=limits) as running:
        yield running


@pytest.mark.parametrize("last", ["Connection: close", "Connection: keep-alive"])
def test_who_reads_nothing_is_not_waited_for(narrow: Served, last: str) -> None:
    with wire(narrow.base_url, receive_buffer_bytes=4096) as client:
        client.send(request("GET", "/big", last))
        wait_for_places(narrow, 3)
        assert len(client.rest()) < len(BIG)


def test_who_reads_slowly_gets_all_of_it() -> None:
    limits = ServerLimits(unread_s=0.2, idle_s=0.2, shutdown_s=1.0, drain_s=0.05)
    with (
        served(route("GET", "/big", big), limits=limits) as running,
        wire(running.base_url, receive_buffer_bytes=65_536) as client,
    ):
        client.send(request("GET", "/big"))
        assert client.reply().body == BIG


def test_connections_above_the_limit_are_turned_away_and_places_come_free(narrow: Served) -> None:
    with wire(narrow.base_url) as first, wire(narrow.base_url) as second, wire(narrow.base_url) as third:
        for client in (first, second, third):
            client.send(request("GET", "/echo"))
            assert client.reply().status == 200
        with wire(narrow.base_url) as fourth:
            assert fourth.reply().status == 503
            assert fourth.is_closed()
    wait_for_places(narrow, 3)


@pytest.mark.parametrize("size", [0, 5000])
def test_requests_beyond_those_that_may_wait_are_read_later_and_all_answered(size: int) -> None:
    gate = Gate()
    count = 500
    with (
        served(route("GET", "/gate", gate), route("POST", "/echo"), limits=HASTY) as running,
        wire(running.base_url) as client,
    ):
        client.send(request("GET", "/gate"))
        assert gate.entered.wait(10)
        body = b"x" * size
        sent = b"".join(request("POST", f"/echo?{number}", body=body) for number in range(count))
        sending = threading.Thread(target=client.pour, args=(sent, 1))
        sending.start()
        gate.open()
        assert client.reply().json == "late"
        for number in range(count):
            told = client.reply().json
            assert (told["query"], len(told["body"])) == ([[str(number), ""]], size)
        sending.join()
        client.send(request("POST", "/echo", "Connection: close"))
        assert client.reply().ends_connection
        assert client.is_closed()


# -- the end -----------------------------------------------------------------------------------------------


def wait_for_draining(running: Served) -> None:
    """Return once answers say that the connection ends."""
    deadline_s = time.monotonic() + 10
    while True:
        with wire(running.base_url) as client:
            client.send(request("GET", "/echo"))
            if client.reply().ends_connection:
                return
        assert time.monotonic() < deadline_s, "it does not drain"


def test_kept_connections_are_told_to_close_before_they_are_closed() -> None:
    limits = ServerLimits(drain_s=1.0, shutdown_s=1.0)
    with served(route("GET", "/echo"), limits=limits) as running, wire(running.base_url) as client:
        client.send(request("GET", "/echo"))
        assert not client.reply().ends_connection
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        wait_for_draining(running)
        client.send(request("GET", "/echo"))
        last = client.reply()
        assert (last.status, last.ends_connection) == (200, True)
        assert client.is_closed()
        stopping.join()


def test_a_request_under_way_is_answered_before_the_end() -> None:
    gate = Gate()
    with served(route("GET", "/gate", gate)) as running, wire(running.base_url) as client:
        client.send(request("GET", "/gate"))
        assert gate.entered.wait(10)
        running.stop()
        gate.open()
        assert client.reply().json == "late"
        assert client.is_closed()


@pytest.mark.parametrize("at_once", [False, True], ids=["after the patience", "at once"])
def test_a_request_that_does_not_end_holds_the_end_up_no_longer_than_allowed(at_once: bool) -> None:
    limits = ServerLimits(drain_s=0.05, shutdown_s=30.0 if at_once else 0.2, body_deadline_s=60.0)
    with served(route("POST", "/echo"), limits=limits) as running, wire(running.base_url) as client:
        client.send(request("POST", "/echo", "Content-Length: 10"))
        with wire(running.base_url) as other:
            other.send(request("POST", "/echo"))
            assert other.reply().status == 200, "the request before is being read by now"
        running.stop()
        if at_once:
            running.stop_at_once()
        running.wait_ended()
        if not at_once:
            answer = client.reply()
            assert (answer.status, answer.ends_connection) == (503, True)


def test_nobody_is_let_in_any_more() -> None:
    gate = Gate()
    with served(route("GET", "/gate", gate)) as running, wire(running.base_url) as client:
        client.send(request("GET", "/gate"))
        assert gate.entered.wait(10)
        running.stop()
        deadline_s = time.monotonic() + 10
        while _is_let_in(running):
            assert time.monotonic() < deadline_s, "it goes on taking connections"
        gate.open()
        assert client.reply().status == 200


def _is_let_in(running: Served) -> bool:
    try:
        with wire(running.base_url):
            return True
    except ConnectionError:
        return False
