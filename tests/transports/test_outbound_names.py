"""How the outbound client looks names up."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from receivers import LOOPBACK, Receiver, exchange, post, run
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client, Limits

ALLOWED = AddressPolicy(LOOPBACK)


def test_a_name_is_looked_up_once_for_many_and_again_when_its_time_is_over() -> None:
    asked: list[str] = []

    def resolve(host: str) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",)

    async def scenario(client: Client, receiver: Receiver) -> None:
        requests = [post(receiver.url(host=host)) for host in ("a.test", "A.test", "a.test.", "b.test") * 5]
        replies = await asyncio.gather(*(exchange(client, request) for request in requests))
        assert {reply.status for reply in replies} == {200}
        assert sorted(asked) == ["a.test", "a.test.", "b.test"]

    async def expired(client: Client, receiver: Receiver) -> None:
        for _ in range(3):
            assert (await exchange(client, post(receiver.url(host="c.test")))).status == 200
        assert asked[-3:] == ["c.test"] * 3

    run(scenario, Client(ALLOWED, resolve=resolve))
    run(expired, Client(ALLOWED, resolve=resolve, limits=Limits(names_ttl_s=0.0)))


@pytest.mark.parametrize(
    ("found", "error_class", "error"),
    [
        (OSError("no"), ErrorClass.DNS, "the name a.test does not resolve"),
        ((), ErrorClass.DNS, "the name a.test has no address"),
        (("10.0.0.1",), ErrorClass.ADDRESS_REFUSED, "the name a.test leads to a private IP address"),
        (("127.0.0.1", "10.0.0.1"), ErrorClass.ADDRESS_REFUSED, "the name a.test leads to a private IP address"),
        (RuntimeError("?"), ErrorClass.INTERNAL, "the name a.test could not be looked up: RuntimeError"),
    ],
)
def test_a_name_without_a_sound_answer_fails(
    found: Exception | tuple[str, ...], error_class: ErrorClass, error: str
) -> None:
    def resolve(_: str) -> tuple[str, ...]:
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario(client: Client, receiver: Receiver) -> None:
        reply = await exchange(client, post(receiver.url(host="a.test")))
        assert (reply.error_class, reply.error) == (error_class, error)
        assert receiver.connections == 0

    run(scenario, Client(ALLOWED, resolve=resolve))


def test_a_slow_name_is_given_up_and_neither_others_nor_the_close_wait_for_it() -> None:
    released = threading.Event()

    def resolve(host: str) -> tuple[str, ...]:
        if host == "slow.test":
            released.wait()
        return ("127.0.0.1",)

    async def scenario(client: Client, receiver: Receiver) -> None:
        slow = [asyncio.create_task(exchange(client, post(receiver.url(host="slow.test")))) for _ in range(40)]
        assert (await exchange(client, post(receiver.url(host="quick.test")))).status == 200
        for reply in await asyncio.gather(*slow):
            assert reply.error_class is ErrorClass.DNS
            assert reply.error == "the name slow.test did not resolve within 0.4 s"
            assert reply.duration_ms < 900
        client.send(post(receiver.url(host="slow.test")), lambda _: None)
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 1.0

    try:
        run(scenario, Client(ALLOWED, resolve=resolve, limits=Limits(resolve_s=0.4, resolvers_max=2)))
    finally:
        released.set()
