"""The outbound client's life: pauses, faults inside it, fullness, and that closing leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import threading
import time
from pathlib import Path

import pycurl
import pytest

from receivers import LOOPBACK, Receiver, exchange, hang, post, run
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Place, UrlFault
from tocsin.transports.outbound import Client, Limits, Reply

ALLOWED = AddressPolicy(LOOPBACK)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def senders() -> list[threading.Thread]:
    """The senders' threads that go on; one that has told its end gets the moment to come to it."""
    found = [thread for thread in threading.enumerate() if thread.name == "tocsin-sender"]
    for thread in found:
        thread.join(timeout=5.0)
    return [thread for thread in found if thread.is_alive()]


def test_a_pause_of_the_process_counts_for_no_deadline() -> None:
    paused_s = 0.0

    async def scenario(client: Client, receiver: Receiver) -> None:
        nonlocal paused_s
        release = asyncio.Event()

        async def late(writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        receiver.answers.append(late)
        under_way = asyncio.create_task(exchange(client, post(receiver.url(), timeout_s=20.0)))
        await receiver.wait_for(1)
        paused_s = 3600.0
        await exchange(client, post(receiver.url()))  # the sender has seen the jump by the time of this reply
        release.set()
        reply = await under_way
        assert (reply.status, reply.error) == (200, None)
        assert reply.duration_ms < 5000

    run(scenario, Client(ALLOWED, monotonic_s=lambda: time.monotonic() + paused_s))


def test_a_blocked_event_loop_costs_no_request_its_answer() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    answered = threading.Event()

    def answer_at_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            answered.set()
            connection.recv(1)

    async def scenario(client: Client, _: Receiver) -> None:
        request = post(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.5)
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        client.send(request, answer.set_result)
        await asyncio.sleep(0)  # lets the client hand it over
        assert answered.wait(5.0)
        threading.Event().wait(0.8)  # the loop stands still until the deadline is past
        reply = await answer
        assert (reply.status, reply.error) == (200, None)
        assert reply.duration_ms < 500

    thread = threading.Thread(target=answer_at_once)
    thread.start()
    with listener:
        run(scenario)
        thread.join()


def test_closing_drops_what_is_under_way_and_leaves_no_socket_thread_or_handle() -> None:
    told: list[Reply] = []

    async def scenario(client: Client, receiver: Receiver) -> None:
        for _ in range(20):
            assert (await exchange(client, post(receiver.url()))).status == 200
        receiver.answers.extend([hang] * 20)
        for _ in range(20):
            client.send(post(receiver.url()), told.append)
        await receiver.wait_for(40)
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 1.0
        await client.close()

    run(scenario)
    gc.collect()
    before, curls = descriptors(), sum(isinstance(thing, pycurl.Curl) for thing in gc.get_objects())
    for _ in range(3):
        run(scenario)
    gc.collect()
    assert not told
    assert not senders()
    assert descriptors() <= before
    assert sum(isinstance(thing, pycurl.Curl) for thing in gc.get_objects()) <= curls


def test_what_is_sent_to_a_closed_client_is_told_to_be_unsent() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        await client.close()
        reply = await exchange(client, post(receiver.url()))
        assert (reply.unsent, reply.error_class) == (True, ErrorClass.INTERNAL)

    run(scenario)


def test_what_is_sent_to_a_full_client_is_told_to_be_unsent_at_once() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        for _ in range(4):
            client.send(post(receiver.url()), lambda _: None)
        reply = await exchange(client, post(receiver.url()))
        assert (reply.unsent, reply.error) == (True, "the outbound client is full")
        await receiver.wait_for(4)
        assert len(receiver.requests) == 4

    run(scenario, Client(ALLOWED, limits=Limits(connections_max=4)), Receiver(hang))


def test_a_full_client_takes_requests_again_after_its_replies() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        for _ in range(50):
            replies = await asyncio.gather(*(exchange(client, post(receiver.url())) for _ in range(2)))
            assert [reply.status for reply in replies] == [200, 200]

    run(scenario, Client(ALLOWED, limits=Limits(connections_max=2)))


@pytest.mark.parametrize("room", [0, 1])
def test_a_request_for_which_the_process_has_no_socket_is_told_to_be_unsent(room: int) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            limit = os.dup(0) + 64
            os.close(limit - 64)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            spare = []
            with contextlib.suppress(OSError):
                while True:
                    spare.append(os.dup(0))
            for _ in range(room):
                os.close(spare.pop())
            for descriptor in spare:
                stack.callback(os.close, descriptor)
            reply = await exchange(client, post(receiver.url()))
        assert (reply.unsent, reply.error_class) == (True, ErrorClass.INTERNAL)
        assert reply.error == "no socket could be opened: Too many open files"
        assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario)


def test_idle_connections_are_bounded() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        others = [await Receiver().__aenter__() for _ in range(12)]
        try:
            before = descriptors()
            for other in others:
                assert (await exchange(client, post(other.url()))).status == 200
            kept = descriptors() - before
            assert kept <= 2 * 4 + 12  # the client's four at both ends, and what receivers have not closed yet
            assert (await exchange(client, post(others[-1].url()))).connect_ms is None
            assert (await exchange(client, post(others[0].url()))).connect_ms is not None
        finally:
            for other in others:
                await other.__aexit__(None, None, None)

    run(scenario, Client(ALLOWED, limits=Limits(connections_max=4)))


class FaultyPolicy(AddressPolicy):
    """Raises where it is asked about an address, or about a URL that says so."""

    def allows(self, address: str) -> bool:
        if address == "127.0.0.2":
            raise RuntimeError("a fault of ours")
        return super().allows(address)

    def check(self, url: str) -> Place | UrlFault:
        if "faulty" in url:
            raise RuntimeError("a fault of ours")
        return super().check(url)


def test_a_fault_in_the_address_check_refuses_the_connection_and_nothing_else() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        at_check = await exchange(client, post(receiver.url("/faulty")))
        assert (at_check.error_class, at_check.status) == (ErrorClass.INTERNAL, None)
        at_socket = await exchange(client, post(f"http://two.test:{receiver.port}/"))
        assert (at_socket.error_class, at_socket.status) == (ErrorClass.INTERNAL, None)
        assert receiver.connections == 0
        assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario, Client(FaultyPolicy(LOOPBACK), resolve=lambda _: ("127.0.0.2",)), Receiver(host="127.0.0.1"))


def test_a_failing_turn_fails_what_is_under_way_and_the_sender_goes_on() -> None:
    failing = threading.Event()

    def monotonic_s() -> float:
        if failing.is_set() and threading.current_thread().name == "tocsin-sender":
            failing.clear()
            raise RuntimeError("a fault of ours")
        return time.monotonic()

    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(hang)
        under_way = asyncio.create_task(exchange(client, post(receiver.url())))
        await receiver.wait_for(1)
        failing.set()
        reply = await under_way
        assert (reply.error_class, reply.error) == (ErrorClass.INTERNAL, "the sender failed: RuntimeError")
        for _ in range(3):
            assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario, Client(ALLOWED, monotonic_s=monotonic_s))


def test_a_sender_that_fails_for_good_still_answers_every_request() -> None:
    broken = threading.Event()

    def monotonic_s() -> float:
        if broken.is_set() and threading.current_thread().name == "tocsin-sender":
            raise RuntimeError("a fault of ours")
        return time.monotonic()

    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(hang)
        under_way = asyncio.create_task(exchange(client, post(receiver.url())))
        await receiver.wait_for(1)
        broken.set()
        replies = [await under_way, *[await exchange(client, post(receiver.url())) for _ in range(3)]]
        assert {reply.error_class for reply in replies} == {ErrorClass.INTERNAL}

    run(scenario, Client(ALLOWED, monotonic_s=monotonic_s))
    assert not senders()


def test_a_receiver_of_a_reply_that_fails_costs_the_others_nothing() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        faults: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(type(context["exception"]).__name__))

        def fail(_: Reply) -> None:
            raise LookupError

        client.send(post(receiver.url()), fail)
        replies = await asyncio.gather(*(exchange(client, post(receiver.url())) for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert faults == ["LookupError"]

    run(scenario)


@pytest.mark.parametrize("module", ["asyncio", "uvloop"])
def test_it_works_on_either_event_loop(module: str) -> None:
    async def main() -> None:
        async with Receiver() as receiver:
            client = Client(ALLOWED)
            await client.open()
            replies = await asyncio.gather(*(exchange(client, post(receiver.url())) for _ in range(50)))
            assert {reply.status for reply in replies} == {200}
            await client.close()

    with asyncio.Runner(loop_factory=pytest.importorskip(module).new_event_loop) as runner:
        runner.run(main())
