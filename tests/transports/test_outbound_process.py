"""The client in a process of its own: it sends as the thread does, and outlives its worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

from receivers import LOOPBACK, Answer, Receiver, hang
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Limits, ProcessClient, Reply, Request

WAIT_S = 30.0


class _Clock:
    """The machine's clocks, the monotonic one moved ahead at will."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic() + self.ahead_s


Scenario = Callable[[ProcessClient, Receiver, _Clock], Awaitable[None]]


def _run(scenario: Scenario, *, answer: Answer | None = None, connections_max: int = 16) -> None:
    async def main() -> None:
        clock = _Clock()
        limits = Limits(connections_max=connections_max)
        client = ProcessClient(AddressPolicy(LOOPBACK), limits=limits, clock=clock)
        receiver = Receiver(hang) if answer is None else Receiver(answer)
        async with asyncio.timeout(WAIT_S * 2), receiver:
            await client.open()
            try:
                await scenario(client, receiver, clock)
            finally:
                await client.close()

    asyncio.run(main())


def _post(client: ProcessClient, url: str, body: bytes = b"{}", timeout_s: float = 10.0) -> asyncio.Future[Reply]:
    reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    headers = (("Content-Type", "application/json"),)
    client.send(Request("POST", url, headers, body, timeout_s), reply.set_result)
    return reply


def test_what_is_sent_arrives_and_the_answer_comes_back() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        bodies = [b"%d" % number * 1000 for number in range(10)]
        replies = await asyncio.gather(*(_post(client, receiver.url("/hook"), body) for body in bodies))
        assert [reply.status for reply in replies] == [202] * 10
        assert {reply.body for reply in replies} == {b"taken"}
        assert sorted(request.body for request in receiver.requests) == sorted(bodies)

    _run(scenario, answer=Answer(202, (("X-Its", "own"),), b"taken"))


def test_a_large_body_passes_in_pieces() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        body = os.urandom(5_000_000)
        reply = await _post(client, receiver.url("/hook"), body)
        assert reply.status == 200
        assert receiver.requests[0].body == body

    _run(scenario, answer=Answer())


def test_a_private_address_is_refused_there_too() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        reply = await _post(client, receiver.url("/hook"))
        assert reply.status == 200
        strict = ProcessClient(AddressPolicy((ip_network("10.1.2.3/32"),)), limits=Limits(), clock=_Clock())
        await strict.open()
        try:
            refused = await _post(strict, receiver.url("/hook"))
        finally:
            await strict.close()
        assert refused.error_class is ErrorClass.ADDRESS_REFUSED
        assert receiver.connections == 1

    _run(scenario, answer=Answer())


def test_a_worker_that_dies_is_replaced_and_what_it_had_is_told_as_failed() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        hanging = _post(client, receiver.url("/hang"))
        before = client.worker_pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        lost = await hanging
        assert (lost.status, lost.error_class, lost.unsent) == (None, ErrorClass.INTERNAL, False)
        away = await _post(client, receiver.url("/hang"), timeout_s=0.2)
        while away.unsent:
            away = await _post(client, receiver.url("/hang"), timeout_s=0.2)
        assert away.error_class is ErrorClass.TIMEOUT, "the new worker made an attempt of its own"
        assert client.worker_pid not in (None, before)

    _run(scenario)


def test_a_worker_that_answers_nothing_is_replaced() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, clock: _Clock) -> None:
        before = client.worker_pid
        assert before is not None
        os.kill(before, signal.SIGSTOP)
        stuck = _post(client, receiver.url("/hook"), timeout_s=0.1)
        clock.ahead_s = 3600.0
        lost = await stuck
        assert lost.error_class is ErrorClass.INTERNAL
        reply = await _post(client, receiver.url("/hook"))
        while reply.unsent:
            reply = await _post(client, receiver.url("/hook"))
        assert reply.status == 200
        assert client.worker_pid != before

    _run(scenario, answer=Answer())


def test_more_than_the_limit_is_told_as_unsent() -> None:
    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        hanging = [_post(client, receiver.url("/hang"), timeout_s=0.5) for _ in range(3)]
        assert (await hanging[2]).unsent
        assert {(await each).error_class for each in hanging[:2]} == {ErrorClass.TIMEOUT}

    _run(scenario, connections_max=2)


def test_the_worker_ends_with_the_client() -> None:
    pids: list[int] = []

    async def scenario(client: ProcessClient, receiver: Receiver, _clock: _Clock) -> None:
        assert client.worker_pid is not None
        pids.append(client.worker_pid)
        assert (await _post(client, receiver.url("/hook"))).status == 200

    _run(scenario, answer=Answer())
    (pid,) = pids
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return
    raise AssertionError("the worker is still there")
