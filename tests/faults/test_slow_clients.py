"""Clients that send slowly, too much, or not at all: each is closed by its deadline, and none takes memory."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from gateway import Gateway, gateway_with
from wire import Memory, Wire, request, wire

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from Linux's /proc"),
]

GROWTH_MAX_MIB = 20.0
WAITING_GROWTH_MAX_MIB = 45.0
"""With thirty bodies that wait: beside those, each connection has buffers of its own."""
CONNECTIONS_EACH = 50
MEBIBYTE = b"x" * 1_048_576
FLOOD_MIB = 64
CHUNKED = "Transfer-Encoding: chunked"
SETTINGS = {
    "TOCSIN_SERVER_HEAD_DEADLINE_S": "1",
    "TOCSIN_SERVER_BODY_DEADLINE_S": "1",
    "TOCSIN_SERVER_UNREAD_S": "1",
    "TOCSIN_SERVER_IDLE_S": "1",
    "TOCSIN_SERVER_BODIES_BYTES_MAX": "4000000",
    "TOCSIN_PASSWORD_MEMORY_KIB": "64",
}


@pytest.fixture(name="hasty", scope="module")
def _hasty() -> Iterator[Gateway]:
    with gateway_with(SETTINGS) as running:
        # What is allocated once, at the first requests, is no growth.
        for _ in range(200):
            running.process.request("POST", "/emit", b"{}" * 1000)
        yield running


@pytest.fixture(name="memory")
def _memory(hasty: Gateway) -> Iterator[Memory]:
    """Fail a test during which the gateway's memory grew, or after which it does not answer."""
    memory = Memory(hasty.process.pid)
    yield memory
    assert hasty.process.request("GET", "/health").status == 200
    assert memory.growth_mib() <= GROWTH_MAX_MIB


# -- slowly ------------------------------------------------------------------------------------------------

BEGINNINGS = {
    "nothing": b"",
    "a byte": b"P",
    "half a head": b"POST /emit HTTP/1.1\r\nHost: a\r\nX-",
    "a head without a body": request("POST", "/emit", "Content-Length: 100"),
    "half a body": request("POST", "/emit", "Content-Length: 100") + b'{"event"',
    "half a chunk": request("POST", "/emit", CHUNKED) + b'64\r\n{"event"',
    "no last chunk": request("POST", "/emit", CHUNKED) + b"2\r\n{}\r\n",
    "a body for nobody": request("POST", "/nowhere", "Content-Length: 100") + b"{",
    "a refused body": request("POST", "/emit", "Content-Encoding: gzip", "Content-Length: 100") + b"{",
}


@pytest.mark.usefixtures("memory")
def test_what_does_not_go_on_is_closed(hasty: Gateway) -> None:
    with ExitStack() as stack:
        clients = [
            (name, stack.enter_context(wire(hasty.base_url))) for name in BEGINNINGS for _ in range(CONNECTIONS_EACH)
        ]
        for name, client in clients:
            client.send(BEGINNINGS[name])
        for name, client in clients:
            assert client.rest()[:12] in (b"", b"HTTP/1.1 404", b"HTTP/1.1 408", b"HTTP/1.1 415"), name


@pytest.mark.usefixtures("memory")
def test_a_byte_now_and_then_prolongs_nothing(hasty: Gateway) -> None:
    def ends(name: str) -> bytes:
        with wire(hasty.base_url) as client:
            client.send(BEGINNINGS[name])
            closed = threading.Event()

            def drip() -> None:
                while not closed.wait(0.1) and client.pour(b"x", 1):
                    pass

            dripping = threading.Thread(target=drip)
            dripping.start()
            try:
                return client.rest()
            finally:
                closed.set()
                dripping.join()

    names = ["half a head", "half a body", "half a chunk"]
    with ThreadPoolExecutor(len(names)) as pool:
        for end in pool.map(ends, names):
            assert end[:12] == b"HTTP/1.1 408"


@pytest.mark.usefixtures("memory")
def test_who_reads_nothing_of_many_answers_is_closed(hasty: Gateway) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(wire(hasty.base_url, receive_buffer_bytes=4096)) for _ in range(4)]
        for client in clients:
            for _ in range(50):
                client.send_some(request("GET", "/metrics") * 20)
        for client in clients:
            client.rest()


# -- too much ----------------------------------------------------------------------------------------------

FLOODS = {
    "a header without an end": (b"GET /health HTTP/1.1\r\nHost: a\r\nX: ", MEBIBYTE),
    "a target without an end": (b"GET /", MEBIBYTE),
    "headers without an end": (b"GET /health HTTP/1.1\r\nHost: a\r\n", b"X-A: b\r\n" * 131_072),
    "blank lines": (b"", b"\r\n" * 524_288),
    "garbage": (b"", b"\xff" * 1_048_576),
    "chunks without an end": (request("POST", "/emit", CHUNKED), b"100000\r\n" + MEBIBYTE + b"\r\n"),
    "the smallest chunks": (request("POST", "/emit", CHUNKED), b"1\r\nx\r\n" * 174_762),
    "chunks for nobody": (request("POST", "/nowhere", CHUNKED), b"100000\r\n" + MEBIBYTE + b"\r\n"),
    "a chunk's extension": (request("POST", "/emit", CHUNKED) + b"2;", MEBIBYTE),
    "a trailer": (request("POST", "/emit", CHUNKED) + b"2\r\n{}\r\n0\r\nX: ", MEBIBYTE),
    "trailers": (request("POST", "/emit", CHUNKED) + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 131_072),
    "a body far over its limit": (request("POST", "/emit", f"Content-Length: {2**40}"), MEBIBYTE),
    "a bomb": (request("POST", "/emit", "Content-Encoding: gzip", f"Content-Length: {2**40}"), MEBIBYTE),
}


def flood(gateway: Gateway, beginning: bytes, more: bytes) -> None:
    with wire(gateway.base_url) as client:
        reading = threading.Thread(target=client.rest)
        reading.start()
        if client.pour(beginning, 1):
            client.pour(more, FLOOD_MIB)
        reading.join()


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_no_memory_and_is_cut_off(hasty: Gateway, name: str) -> None:
    beginning, more = FLOODS[name]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(flood, hasty, beginning, more) for _ in range(4)]:
            done.result()


@pytest.mark.usefixtures("memory")
def test_requests_without_a_pause_are_read_as_they_are_answered(hasty: Gateway) -> None:
    count = 8_000

    def all_answered(_client: int) -> int:
        with wire(hasty.base_url) as client:
            sending = threading.Thread(target=client.pour, args=(request("GET", "/health") * count, 1))
            sending.start()
            answered = sum(client.reply().status == 200 for _ in range(count))
            sending.join()
            return answered

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(all_answered, range(4))) == [count] * 4


@pytest.mark.usefixtures("memory")
def test_a_compressed_bomb_is_refused_before_it_is_looked_into(hasty: Gateway) -> None:
    bomb = gzip.compress(bytes(30_000_000), 9)
    assert len(bomb) < 30_000
    for path in ("/event/create", "/api/v1/event", "/emit", "/events/v2/projects/a/events/b", "/e/x", "/api/v1/keys"):
        for encoding in ("gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "x-gzip"):
            headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
            answer = hasty.process.request("POST", path, bomb, key=hasty.process.keys["api_key"], headers=headers)
            # Two dialects ask first whether there is an account to tell, and an endpoint of that name.
            assert answer.status == {"/api/v1/event": 403, "/e/x": 404}.get(path, 415), (path, encoding)


def stalled(gateway: Gateway, count: int, size: int, stack: ExitStack) -> list[Wire]:
    """Return clients that have sent all of a body but its last byte."""
    clients = [stack.enter_context(wire(gateway.base_url)) for _ in range(count)]
    for client in clients:
        client.send(request("POST", "/emit", f"Content-Length: {size + 1}") + b"x" * size)
    return clients


def test_bodies_that_wait_share_a_bound(hasty: Gateway) -> None:
    memory = Memory(hasty.process.pid)
    with ExitStack() as stack:
        clients = stalled(hasty, 30, 1_500_000, stack)
        statuses = {client.reply().status for client in clients}
    assert 503 in statuses
    assert statuses <= {408, 503}
    assert hasty.process.request("GET", "/health").status == 200
    assert memory.growth_mib() <= WAITING_GROWTH_MAX_MIB


def test_without_that_bound_they_would_take_memory() -> None:
    without = {**SETTINGS, "TOCSIN_SERVER_BODIES_BYTES_MAX": "1000000000", "TOCSIN_SERVER_BODY_DEADLINE_S": "2"}
    with gateway_with(without) as running, ExitStack() as stack:
        memory = Memory(running.process.pid)
        for client in stalled(running, 30, 1_500_000, stack):
            assert client.reply().status == 408
        assert memory.growth_mib() > WAITING_GROWTH_MAX_MIB
