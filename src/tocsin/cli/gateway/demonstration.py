"""The parts of ``tocsin demo``: a gateway in a process of its own, a receiver, and an event by each dialect."""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from tocsin.cli.client.api import Api
from tocsin.cli.exits import FAILED
from tocsin.cli.faults import Failure
from tocsin.cli.gateway.people import People
from tocsin.cli.gateway.receiver import Arrival, Receiver
from tocsin.cli.gateway.tryout import Samples
from tocsin.cli.sending.samples import SAMPLES, Address, request_for

_START_S = 60.0
_STOP_S = 20.0
_ARRIVAL_S = 15.0
_NAME = "demo"
_FIXTURES = (
    ("PushGo", "pushgo.database-lag"),
    ("PingPilot", "pingpilot.bug"),
    ("Buildable", "buildable.user-created"),
    ("Native Frame", "nativeframe.order-paid"),
    ("PromptJang", "promptjang.order-created"),
)
_TO_PEOPLE = "PingPilot"
"""Whose events the account's people are told of."""
_FROM_ANYWHERE = ["pushgo", "pingpilot", "buildable", "nativeframe"]


class Running(msgspec.Struct, frozen=True):
    """The gateway's address and key."""

    url: str
    key: str
    process: Any


@contextmanager
def gateway(data: Path, apis: dict[str, str]) -> Iterator[Running]:
    """Run a gateway on a free port of this machine, which may send to this machine.

    Args:
        apis: the settings that say where Discord, Telegram and the mail server are.

    Raises:
        Failure: it does not start.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    settings = apis | {"TOCSIN_LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "tocsin", "serve", "--host", "127.0.0.1", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(  # noqa: S603  our own program
        command, stdout=subprocess.PIPE, text=True, env=kept | settings, cwd=data.parent
    )
    try:
        url, key = _greeting(process)
        yield Running(url, key, process)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _greeting(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout is not None
    watchdog = threading.Timer(_START_S, process.kill)
    watchdog.start()
    told: dict[str, str] = {}
    try:
        for line in process.stdout:
            name, _, value = line.strip().rpartition(" ")
            told[name.strip()] = value
            if line == "Ready.\n":
                return told["Tocsin listens on"], told["API key"]
    finally:
        watchdog.cancel()
    raise Failure(FAILED, "the gateway did not start; tocsin doctor may tell why")


@contextmanager
def receiver() -> Iterator[tuple[Receiver, str, queue.Queue[tuple[float, Arrival]]]]:
    """Run a receiver in a thread; yield it, its URL, and what arrives with the time at which it did."""
    arrivals: queue.Queue[tuple[float, Arrival]] = queue.Queue()
    made = Receiver(lambda arrival: arrivals.put((time.monotonic(), arrival)))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        url = asyncio.run_coroutine_threadsafe(made.open(), loop).result(_START_S)
        yield made, url, arrivals
    finally:
        asyncio.run_coroutine_threadsafe(_close(made), loop).result(_STOP_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_S)
        loop.close()


async def _close(made: Receiver) -> None:
    await made.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def make_samples(api: Api, receiver_url: str, people: People) -> Samples:
    """Make what the events need: a channel, a category with people to tell, an endpoint, and a destination.

    Raises:
        Failure: the gateway refuses.
    """
    password = os.urandom(6).hex()
    channel = api.post("/api/v1/channels", {"name": _NAME, "password": password})
    api.post("/api/v1/categories", {"name": "bug", "color": "#ff6b6b", "emoji": "🐛"})
    people.invite(api)
    destination = api.post(
        "/api/v1/destinations",
        {
            "name": _NAME,
            "transport": "webhook",
            "address": {"url": f"{receiver_url}/all"},
            "filter": {"dialects": _FROM_ANYWHERE},
        },
    )
    endpoint = api.post("/api/v1/endpoints", {"url": f"{receiver_url}/endpoint"})
    return Samples(
        channel["id"], password, endpoint["id"], endpoint["secret"], (destination["secret"], endpoint["secret"])
    )


def send_each(
    api: Api, samples: Samples, arrivals: queue.Queue[tuple[float, Arrival]], people: People
) -> Iterator[dict[str, Any]]:
    """Send an event by each dialect, one after another; yield where each arrived, once it did.

    Raises:
        Failure: the gateway does not answer.
    """
    address = Address(
        api.key,
        channel=samples.channel,
        password=samples.password,
        endpoint=samples.endpoint,
        secret=samples.endpoint_secret,
    )
    for title, fixture in _FIXTURES:
        sample = SAMPLES[fixture]
        request = request_for(sample, sample.body, address)
        started_s = time.monotonic()
        answer = api.send("POST", request.path, request.body, headers=request.headers)
        row: dict[str, Any] = {
            "dialect": title,
            "request": f"POST {request.path}",
            "status": answer.status,
            "stored_ms": round(answer.elapsed_ms, 1),
            "event_id": None,
            "arrived_at": None,
            "arrived_ms": None,
            "signature": None,
        }
        with suppress(queue.Empty):
            if answer.status < 300:
                at_s, arrival = arrivals.get(timeout=_ARRIVAL_S)
                row |= {
                    "event_id": arrival.message_id,
                    "arrived_at": arrival.method_and_path,
                    "arrived_ms": round((at_s - started_s) * 1000, 1),
                    "signature": "right" if arrival.signed else "wrong",
                }
        yield row
        if title == _TO_PEOPLE and answer.status < 300:
            yield from (row | each for each in people.shown(started_s, _ARRIVAL_S))


def is_right(row: dict[str, Any]) -> bool:
    """Return whether an event arrived as it should: people are sent no signature."""
    return row["arrived_ms"] is not None and row["signature"] != "wrong"
