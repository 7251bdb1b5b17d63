"""Receivers that hang, drip, flood, lie and break off: none gets more than its deadline and a bounded memory.

Each attempt runs against a real receiver. The controls at the end show that the receivers do what they are said to
do, and that the measure of memory sees it: a naive client suffers from every one of them.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import time
import urllib.request
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from receivers import LOOPBACK, Answer, Behaviour, Receiver, exchange, hang, post
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import BODY_KEPT_BYTES, Client, Limits, Reply

DEADLINE_S = 0.6
MARGIN_S = 0.5
MEMORY_BYTES = 20 * 1024 * 1024
MEBIBYTE = 1024 * 1024
CHUNK = b"x" * 65536
BOMB_BYTES = 200_000_000

HEAD = b"HTTP/1.1 200 OK\r\n"


def flood(head: bytes, chunk: bytes, count: int) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        for _ in range(count):
            writer.write(chunk)
            await writer.drain()

    return behave


def drip(head: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)  # the drip's own pace; the test waits for nothing here

    return behave


def say(text: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.write_eof()
        await asyncio.sleep(0)

    return behave


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@cache
def bomb() -> bytes:
    """Return 200 MB of zeros in gzip, made without ever holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(1_000_000)) for _ in range(BOMB_BYTES // 1_000_000)]
    return b"".join([*parts, packer.flush()])


async def send_bomb(writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb()) + bomb())
    await writer.drain()


async def send_transfer_bomb(writer: asyncio.StreamWriter) -> None:
    length = b"%x\r\n" % len(bomb())
    writer.write(HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + length + bomb() + b"\r\n0\r\n\r\n")
    await writer.drain()


FOREVER = 1_000_000
ENDLESS_BODY = flood(HEAD + b"Content-Length: 10737418240\r\n\r\n", CHUNK, FOREVER)
ENDLESS_CHUNKS = flood(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + CHUNK + b"\r\n", FOREVER)
ENDLESS_TO_CLOSE = flood(HEAD + b"\r\n", CHUNK, FOREVER)
HUGE_HEADER = flood(HEAD + b"X-A: ", b"a" * 50_000, 1000)
MANY_HEADERS = flood(HEAD, b"X-A: a\r\n" * 1000, 1000)
ENDLESS_INTERIM = flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, FOREVER)

# What is expected: the status that shows, and the class of the error; None is an answer that counts.
HOSTILE: dict[str, tuple[Behaviour, int | None, ErrorClass | None]] = {
    "hang": (hang, None, ErrorClass.TIMEOUT),
    "drip of a body": (drip(HEAD + b"Content-Length: 100000\r\n\r\n"), 200, ErrorClass.TIMEOUT),
    "drip of a header": (drip(HEAD + b"X-A: "), 200, ErrorClass.TIMEOUT),
    "drip of a status line": (drip(b"HTTP/1.1 200 "), None, ErrorClass.TIMEOUT),
    "endless body": (ENDLESS_BODY, 200, None),
    "endless chunks": (ENDLESS_CHUNKS, 200, None),
    "endless body without a length": (ENDLESS_TO_CLOSE, 200, None),
    "gzip bomb": (send_bomb, 200, None),
    "gzip bomb as a transfer encoding": (send_transfer_bomb, 200, ErrorClass.PROTOCOL),
    "switched protocols": (say(b"HTTP/1.1 101 Yes\r\nUpgrade: x\r\n\r\n"), None, ErrorClass.PROTOCOL),
    "50 MB header": (HUGE_HEADER, 200, ErrorClass.PROTOCOL),
    "a million headers": (MANY_HEADERS, 200, ErrorClass.PROTOCOL),
    "endless interim answers": (ENDLESS_INTERIM, None, ErrorClass.PROTOCOL),
    "reset": (reset, None, ErrorClass.PROTOCOL),
    "close": (say(b""), None, ErrorClass.PROTOCOL),
    "garbage": (say(b"\x16\x03\x01garbage\r\n\r\n"), None, ErrorClass.PROTOCOL),
    "HTTP/0.9": (say(b"<html>hello</html>"), None, ErrorClass.PROTOCOL),
    "another protocol": (say(b"220 mail.example ESMTP\r\n"), None, ErrorClass.PROTOCOL),
    "a status of nonsense": (say(b"HTTP/1.1 9x9 No\r\n\r\n"), None, ErrorClass.PROTOCOL),
    "a body that breaks off": (say(HEAD + b"Content-Length: 9\r\n\r\nhalf"), 200, ErrorClass.PROTOCOL),
    "chunks that break off": (say(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nha"), 200, ErrorClass.PROTOCOL),
    "a chunk of nonsense": (say(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 200, ErrorClass.PROTOCOL),
    "a length of nonsense": (say(HEAD + b"Content-Length: -5\r\n\r\nhello"), 200, ErrorClass.PROTOCOL),
    "NUL in a header": (say(HEAD + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n"), 200, ErrorClass.PROTOCOL),
}


def memory_bytes(field: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(field))) * 1024


class Growth:
    """How far the resident memory has risen above its level at the start, at its highest."""

    def __init__(self) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark, see proc(5)
        self._before = memory_bytes("VmRSS")

    def bytes(self) -> int:
        return memory_bytes("VmHWM") - self._before


async def attempt(behaviour: Behaviour) -> tuple[Reply, float, Receiver]:
    client = Client(AddressPolicy(LOOPBACK))
    await client.open()
    try:
        async with Receiver(behaviour) as receiver, asyncio.timeout(30):
            began = time.monotonic()
            reply = await exchange(client, post(receiver.url(), timeout_s=DEADLINE_S))
            return reply, time.monotonic() - began, receiver
    finally:
        await client.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_receiver_gets_no_more_than_its_deadline_and_a_bounded_memory(name: str) -> None:
    behaviour, status, error_class = HOSTILE[name]
    bomb()
    growth = Growth()
    reply, took_s, receiver = asyncio.run(attempt(behaviour))
    assert took_s <= DEADLINE_S + MARGIN_S
    assert growth.bytes() <= MEMORY_BYTES
    assert receiver.connections == 1
    assert (reply.status, reply.error_class) == (status, error_class), reply.error
    assert (reply.error is None) is (error_class is None)
    assert len(reply.body) <= BODY_KEPT_BYTES
    if reply.error is not None:
        assert reply.error.isprintable()
        assert len(reply.error) <= 200


def test_a_bomb_is_kept_as_it_came() -> None:
    reply, _, receiver = asyncio.run(attempt(send_bomb))
    assert reply.body == bomb()[:BODY_KEPT_BYTES]
    assert reply.truncated
    assert receiver.requests[0].header("Accept-Encoding") is None


def test_a_receiver_that_never_reads_is_given_up_at_the_deadline() -> None:
    async def main() -> None:
        client = Client(AddressPolicy(LOOPBACK))
        await client.open()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            began = time.monotonic()
            reply = await exchange(client, post(url, bytes(16 * MEBIBYTE), timeout_s=DEADLINE_S))
            assert time.monotonic() - began <= DEADLINE_S + MARGIN_S
            assert (reply.status, reply.error_class) == (None, ErrorClass.TIMEOUT)
        await client.close()

    asyncio.run(main())


def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    async def main() -> None:
        client = Client(AddressPolicy(LOOPBACK))
        await client.open()
        stray = b"HTTP/1.1 299 Stray\r\nContent-Length: 0\r\n\r\n"

        async def twice(writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + b"Content-Length: 0\r\n\r\n" + stray)
            await hang(writer)

        async with Receiver() as receiver:
            receiver.answers.append(twice)
            assert [(await exchange(client, post(receiver.url()))).status for _ in range(3)] == [200] * 3
        await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_private_address_is_not_followed(status: int) -> None:
    async def main() -> None:
        client = Client(AddressPolicy(LOOPBACK))
        await client.open()
        async with Receiver() as victim, Receiver() as receiver:
            receiver.answers.append(Answer(status, (("Location", victim.url("/secret")), ("Refresh", "0"))))
            reply = await exchange(client, post(receiver.url()))
            assert (reply.status, reply.error_class) == (status, None)
            assert (len(receiver.requests), victim.connections) == (1, 0)
        await client.close()

    asyncio.run(main())


def test_all_of_them_at_once_disturb_neither_the_memory_nor_a_healthy_receiver() -> None:
    async def main() -> tuple[list[Reply], list[Reply], float]:
        client = Client(AddressPolicy(LOOPBACK), limits=Limits(connections_max=1000))
        await client.open()
        receivers = [Receiver(behaviour) for behaviour, _, _ in HOSTILE.values()]
        async with Receiver() as healthy, asyncio.timeout(60):
            for receiver in receivers:
                await receiver.__aenter__()
            began = time.monotonic()
            urls = [receiver.url() for receiver in receivers for _ in range(4)]
            hostile = [asyncio.ensure_future(exchange(client, post(url, timeout_s=2.0))) for url in urls]
            served = [await exchange(client, post(healthy.url())) for _ in range(50)]
            suffered = await asyncio.gather(*hostile)
            took_s = time.monotonic() - began
            for receiver in receivers:
                await receiver.__aexit__(None, None, None)
        await client.close()
        return served, suffered, took_s

    bomb()
    growth = Growth()
    served, suffered, took_s = asyncio.run(main())
    assert growth.bytes() <= MEMORY_BYTES + 4 * len(HOSTILE) * BODY_KEPT_BYTES
    assert took_s <= 2.0 + 2.0
    assert {reply.status for reply in served} == {200}
    expected = [error_class for _, _, error_class in HOSTILE.values() for _ in range(4)]
    assert [reply.error_class for reply in suffered] == expected


# The controls.


def naive_read(port: int, enough: Callable[[bytearray], bool]) -> bytearray:
    """Return what a client gets that reads until it has enough, however much and however long."""
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not enough(got):
            part = connection.recv(1 << 20)
            if not part:
                break
            got += part
    return got


def naive(behaviour: Behaviour, enough: Callable[[bytearray], bool]) -> bytearray:
    async def main() -> bytearray:
        async with Receiver(behaviour) as receiver:
            return await asyncio.to_thread(naive_read, receiver.port, enough)

    return asyncio.run(main())


@pytest.mark.parametrize("behaviour", [ENDLESS_BODY, ENDLESS_CHUNKS, ENDLESS_TO_CLOSE, HUGE_HEADER])
def test_control_a_naive_client_is_flooded(behaviour: Behaviour) -> None:
    growth = Growth()
    got = naive(behaviour, lambda read: len(read) >= 40 * MEBIBYTE)
    assert len(got) >= 40 * MEBIBYTE
    assert growth.bytes() > MEMORY_BYTES


def test_control_a_naive_client_unpacks_the_bomb() -> None:
    got = naive(send_bomb, lambda read: read.endswith(bomb()[-8:]))
    growth = Growth()
    assert len(zlib.decompress(got.partition(b"\r\n\r\n")[2], 31)) == BOMB_BYTES
    assert growth.bytes() > MEMORY_BYTES


@pytest.mark.parametrize("name", ["drip of a body", "drip of a header", "drip of a status line"])
def test_control_a_naive_client_is_dripped_on_beyond_any_deadline(name: str) -> None:
    until = time.monotonic() + DEADLINE_S + MARGIN_S
    got = naive(HOSTILE[name][0], lambda read: len(read) > 60 and time.monotonic() > until)
    assert time.monotonic() > until
    assert got.endswith(b"xxx")


def test_control_the_interim_answers_do_not_end() -> None:
    got = naive(ENDLESS_INTERIM, lambda read: len(read) >= MEBIBYTE)
    assert got.count(b"HTTP/1.1 103") > 30_000


def test_control_a_naive_client_follows_the_redirect() -> None:
    async def main() -> None:
        async with Receiver() as victim, Receiver() as receiver:
            receiver.answers.append(Answer(307, (("Location", victim.url("/secret")),)))
            naive_client = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with await asyncio.to_thread(naive_client.open, receiver.url(), timeout=5):
                assert victim.requests[0].target == "/secret"

    asyncio.run(main())
