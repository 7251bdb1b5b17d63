"""CPU time per POST of the outbound client, and its ratio to the cheapest libcurl loop that could be written.

Both send the same requests over loopback to a receiver in a process of its own, whose cost is not counted. The floor
is ``CurlMulti.perform`` in a thread, with no capture, no checks and no event loop; it is what the client is paid on
top of. Figures are user and system time of the whole sending process, all threads, divided by the number of POSTs.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pycurl
import uvloop

from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client, Limits, Reply, Request

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nServer: bench\r\n"
    b"Date: Fri, 21 Nov 2025 10:00:00 GMT\r\n\r\nok"
)
_HEADERS = (
    ("Content-Type", "application/json"),
    ("User-Agent", "Tocsin/0.1.0"),
    ("webhook-id", "evt_0123456789abcdef0123456789abcdef"),
    ("webhook-timestamp", "1700000000"),
    ("webhook-signature", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
)


class _Receiver(asyncio.Protocol):
    """Answers every request with the same 200; reads no more of it than its length."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is not a subclass
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + length:
                return
            self._received = self._received[end + 4 + length :]
            self._transport.write(_ANSWER)


async def _receive() -> None:
    server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class _Load:
    """Keeps a number of requests under way until all are answered."""

    def __init__(self, client: Client, request: Request, posts: int) -> None:
        self._client = client
        self._request = request
        self._to_send = self._to_answer = posts
        self.finished = asyncio.Event()

    def start(self, at_once: int) -> None:
        for _ in range(at_once):
            self._send()

    def _send(self) -> None:
        if self._to_send:
            self._to_send -= 1
            self._client.send(self._request, self._replied)

    def _replied(self, reply: Reply) -> None:
        assert reply.status == 200, reply
        self._to_answer -= 1
        if not self._to_answer:
            self.finished.set()
        self._send()


async def _client_cost_us(url: str, body: bytes, posts: int, at_once: int) -> tuple[float, float]:
    policy = AddressPolicy((ipaddress.ip_network("127.0.0.0/8"),))
    client = Client(policy, limits=Limits(connections_max=max(at_once, 64)))
    await client.open()
    try:
        cpu_s = wall_s = 0.0
        for count in (max(at_once, posts // 10), posts):  # the first round warms up
            load = _Load(client, Request("POST", url, _HEADERS, body, 15.0), count)
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            load.start(at_once)
            await load.finished.wait()
            cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        return cpu_s / posts * 1e6, posts / wall_s
    finally:
        await client.close()


def _floor_cost_us(url: str, body: bytes, posts: int, at_once: int) -> tuple[float, float]:
    multi: Any = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, at_once * 2)
    lines = [f"{name}: {value}" for name, value in _HEADERS]
    left = [posts, posts]

    def begin(curl: Any) -> None:
        if left[0]:
            left[0] -= 1
            curl.setopt(pycurl.HTTPHEADER, lines)
            curl.setopt(pycurl.POSTFIELDS, body)
            multi.add_handle(curl)

    def run() -> None:
        while left[1]:
            multi.perform()
            waiting, done, failed = multi.info_read()
            assert not failed, failed
            for curl in done:
                left[1] -= 1
                multi.remove_handle(curl)
                begin(curl)
            if not waiting:
                multi.select(1.0)

    for _ in range(at_once):
        curl: Any = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.WRITEFUNCTION, len)
        begin(curl)
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return (time.process_time() - cpu_s) / posts * 1e6, posts / (time.perf_counter() - wall_s)


def main() -> None:
    """Measure, and print one line per number of requests at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=30_000, help="POSTs per figure (default 30000)")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 8, 64, 256], help="requests under way")
    parser.add_argument("--body-bytes", type=int, default=300, help="size of each body (default 300)")
    parser.add_argument("--receive", action="store_true", help="be the receiver: print its port and serve")
    arguments = parser.parse_args()
    if arguments.receive:
        uvloop.run(_receive())
        return
    command = [sys.executable, str(Path(__file__).resolve()), "--receive"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            url = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/hook"
            body = b"x" * arguments.body_bytes
            for at_once in arguments.at_once:
                floor_us, floor_rate = _floor_cost_us(url, body, arguments.posts, at_once)
                cost_us, rate = uvloop.run(_client_cost_us(url, body, arguments.posts, at_once))
                print(
                    f"{at_once:4} at once: client {cost_us:5.1f} us CPU per POST at {rate:6.0f}/s, "
                    f"floor {floor_us:5.1f} us at {floor_rate:6.0f}/s, ratio {cost_us / floor_us:.2f}"
                )
        finally:
            receiver.kill()


if __name__ == "__main__":
    main()
