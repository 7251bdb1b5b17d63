"""No private address is ever connected to, whatever its notation and whatever a name resolves to.

A trap listens on loopback and counts what it accepts, over all vectors, through the real client and the real webhook
transport. The controls show that without the guard the same vectors do spring it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from types import TracebackType
from typing import Self

import pytest

from private_hosts import LOCAL_NAMES, LOOPBACK_V4, NO_HOSTS, PRIVATE_HOSTS
from receivers import LOOPBACK, Receiver, exchange, post
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Place, UrlFault, parse_url
from tocsin.transports.outbound import Client, Limits, Reply

TRAPPED = ("127.0.0.1", "127.0.0.2", "127.255.255.254", "::1")
REACHABLE_NAMES = ("localhost", "LOCALHOST", "\uff4cocalhost")
REACHABLE_V6 = ("[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]")


class Trap:
    """Listens at several loopback addresses under one port number, and counts the connections."""

    def __init__(self) -> None:
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._servers = [await asyncio.start_server(self._accept, TRAPPED[0], 0)]
        self.port: int = self._servers[0].sockets[0].getsockname()[1]
        self._servers += [await asyncio.start_server(self._accept, host, self.port) for host in TRAPPED[1:]]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


class OnlyAtTheSocket(AddressPolicy):
    """Lets every URL pass, so that nothing but the check at the socket is left."""

    def check(self, url: str) -> Place | UrlFault:
        return parse_url(url)


def spring(client: Client, hosts: tuple[str, ...]) -> tuple[list[Reply], int]:
    """Return the replies of requests to these hosts, and how many connections came of them."""

    async def main() -> tuple[list[Reply], int]:
        await client.open()
        try:
            async with Trap() as trap, asyncio.timeout(30):
                urls = [f"http://{host}:{trap.port}/" for host in hosts]
                replies = await asyncio.gather(*(exchange(client, post(url, timeout_s=3.0)) for url in urls))
                return replies, trap.accepted
        finally:
            await client.close()

    return asyncio.run(main())


def test_no_private_host_is_connected_to() -> None:
    replies, accepted = spring(Client(AddressPolicy()), PRIVATE_HOSTS)
    assert accepted == 0
    assert {reply.error_class for reply in replies} == {ErrorClass.ADDRESS_REFUSED}
    assert {reply.error for reply in replies} == {"URL is not allowed: private IP address"}


def test_what_is_no_host_is_not_connected_to() -> None:
    replies, accepted = spring(Client(AddressPolicy()), NO_HOSTS)
    assert accepted == 0
    assert {reply.error_class for reply in replies} == {ErrorClass.ADDRESS_REFUSED}


def test_the_check_at_the_socket_holds_alone() -> None:
    hosts = LOOPBACK_V4 + REACHABLE_V6 + ("[::]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[fe80::1%25lo]")
    replies, accepted = spring(Client(OnlyAtTheSocket()), hosts)
    assert accepted == 0
    assert {reply.error_class for reply in replies} == {ErrorClass.ADDRESS_REFUSED}


@pytest.mark.parametrize(
    "found",
    [
        ("127.0.0.1",),
        ("::1",),
        ("0.0.0.0",),
        ("::",),
        ("::ffff:127.0.0.1",),
        ("::127.0.0.1",),
        ("64:ff9b::127.0.0.1",),
        ("fe80::1%lo",),
        ("127.0.0.1", "127.0.0.2"),
        ("1.1.1.1", "127.0.0.1"),
        ("2606:4700::1", "::1"),
        ("1.1.1.1", "10.0.0.1"),
    ],
)
def test_a_name_with_any_private_address_is_not_connected_to(found: tuple[str, ...]) -> None:
    replies, accepted = spring(Client(AddressPolicy(), resolve=lambda _: found), ("a.test", "b.test"))
    assert accepted == 0
    assert {reply.error_class for reply in replies} == {ErrorClass.ADDRESS_REFUSED}


def test_names_that_the_system_resolves_to_this_machine_are_not_connected_to() -> None:
    replies, accepted = spring(Client(AddressPolicy()), (*LOCAL_NAMES, socket.gethostname()))
    assert accepted == 0
    assert {reply.error_class for reply in replies} <= {ErrorClass.ADDRESS_REFUSED, ErrorClass.DNS}


def test_a_name_that_is_rebound_between_two_requests_is_not_followed() -> None:
    answers = [("127.0.0.2",), ("127.0.0.1",), ("127.0.0.2", "127.0.0.1")]
    policy = AddressPolicy((ipaddress.ip_network("127.0.0.2/32"),))

    async def main() -> None:
        client = Client(policy, resolve=lambda _: answers.pop(0), limits=Limits(names_ttl_s=0.0))
        await client.open()
        async with Receiver(host="127.0.0.2") as allowed, Receiver(host="127.0.0.1") as forbidden:
            assert (await exchange(client, post(allowed.url(host="a.test")))).status == 200
            for _ in range(2):
                reply = await exchange(client, post(forbidden.url(host="a.test")))
                assert reply.error_class is ErrorClass.ADDRESS_REFUSED
            assert forbidden.connections == 0
        await client.close()

    asyncio.run(main())


def test_a_name_that_is_rebound_between_the_look_up_and_the_connection_is_not_followed() -> None:
    seen: set[str] = set()

    class ChangesItsMind(AddressPolicy):
        """Allows each address once: when it is looked up, and not when it is connected to."""

        def allows(self, address: str) -> bool:
            known = address in seen
            seen.add(address)
            return not known

    replies, accepted = spring(Client(ChangesItsMind(), resolve=lambda _: ("127.0.0.1",)), ("a.test",))
    assert accepted == 0
    assert replies[0].error_class is ErrorClass.ADDRESS_REFUSED
    assert replies[0].error == "a.test leads to a private IP address"


def test_control_with_the_allow_list_every_loopback_notation_connects() -> None:
    hosts = LOOPBACK_V4 + REACHABLE_V6 + REACHABLE_NAMES
    policy = AddressPolicy((*LOOPBACK, ipaddress.ip_network("0.0.0.0/32")))
    replies, accepted = spring(Client(policy), hosts)
    assert [host for host, reply in zip(hosts, replies, strict=True) if reply.status != 200] == []
    assert accepted == len(hosts)


def test_control_with_the_allow_list_a_name_connects() -> None:
    replies, accepted = spring(Client(AddressPolicy(LOOPBACK), resolve=lambda _: ("127.0.0.1", "::1")), ("a.test",))
    assert (replies[0].status, accepted) == (200, 1)
