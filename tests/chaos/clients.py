"""Clients of all dialects, who repeat what was not acknowledged, with the same key, until it is."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from chaos.evidence import Evidence, Posting
from chaos.judging import ORDERED
from tenants import PASSWORD, incident, signed

ALL, ENDPOINT = "/all", "/endpoint"

_PATIENCE_S = 2.0
"""How long an answer is waited for: a gateway that is stopped gives none."""
_PAUSE_S = 0.05
_PAUSE_MAX_S = 0.5
_INCIDENT_STEPS = 5
_LANES = 3
_REPEATS_AT_ONCE = 8


Made = Callable[[], tuple[str, dict[str, str], bytes]]
"""Returns a request's path, headers and body; anew for each try, since a signature has a time."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What clients have to know of the organisation that they post to."""

    key: str
    channel: str
    endpoint_id: str
    endpoint_secret: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One event on its way in.

    Attributes:
        made: its request.
        id_at: the member of the answer that holds the event's id; None where it tells none.
    """

    posting: Posting
    made: Made
    id_at: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connections:
    """One client's connections, one to each gateway that lives."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def ask(self, base: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Return the answer to one request.

        Raises:
            OSError, EOFError, TimeoutError, ValueError: there was none, or none that is whole.
        """
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._ask(base, method, path, headers, body)
        except BaseException:
            self._drop(base)
            raise

    async def _ask(self, base: str, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if base not in self._open:
            place = urlsplit(base)
            self._open[base] = await asyncio.open_connection(place.hostname, place.port)
        reader, writer = self._open[base]
        lines = [f"{method} {path} HTTP/1.1", "host: chaos", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
        answer = Answer(int(head[0].split()[1]), found, await reader.readexactly(int(found["content-length"])))
        if found.get("connection") == "close":
            self._drop(base)
        return answer

    def _drop(self, base: str) -> None:
        if base in self._open:
            _, writer = self._open.pop(base)
            writer.transport.abort()

    def close(self) -> None:
        """Close all."""
        for base in list(self._open):
            self._drop(base)


class Load:
    """Clients, each with one event under way at a time.

    Args:
        gateways: returns where they listen now.
    """

    def __init__(
        self, tenancy: Tenancy, gateways: Callable[[], Sequence[str]], dice: random.Random, evidence: Evidence
    ) -> None:
        self._tenancy = tenancy
        self._gateways = gateways
        self._dice = dice
        self._evidence = evidence
        self._posted: list[Wanted] = []
        self._stopping = False

    async def run(self, dialects: Sequence[str]) -> None:
        """Post until ``stop``, one client for each of these, and one who reads."""
        async with asyncio.TaskGroup() as tasks:
            for number, dialect in enumerate(dialects):
                tasks.create_task(self._be_client(number, dialect))
            tasks.create_task(self._read())

    def stop(self) -> None:
        """Let every client come to the end of what it is at."""
        self._stopping = True

    async def repeat(self, count: int) -> None:
        """Post that many again that were acknowledged, with their keys; every gateway knows them."""
        again = iter(self._dice.sample(self._posted, min(count, len(self._posted))))

        async def repeat() -> None:
            connections = Connections()
            for each in again:
                await self._post(each, connections)
            connections.close()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(_REPEATS_AT_ONCE):
                tasks.create_task(repeat())

    async def _be_client(self, number: int, dialect: str) -> None:
        connections = Connections()
        async for wanted in self._script(number, dialect, connections):
            self._evidence.postings.append(wanted.posting)
            self._posted.append(wanted)
            await self._post(wanted, connections)
            if self._stopping:
                break
        connections.close()

    async def _post(self, wanted: Wanted, connections: Connections) -> str:
        """Post until it is acknowledged or refused for good; return the id that is told, or nothing."""
        begun_s = time.monotonic()
        while True:
            wanted.posting.tries += 1
            path, headers, body = wanted.made()
            try:
                answer = await connections.ask(self._any_gateway(), "POST", path, headers, body)
            except (OSError, EOFError, TimeoutError, ValueError):
                await asyncio.sleep(_PAUSE_S)
                continue
            if answer.status < 300:
                wanted.posting.is_acknowledged = True
                wanted.posting.waited_s = max(wanted.posting.waited_s, time.monotonic() - begun_s)
                told = _at(answer.body, wanted.id_at)
                if wanted.id_at is not None and told:
                    wanted.posting.ids.add(told)
                return told
            if not self._heed(f"{wanted.posting.name} at {path}", answer):
                return ""
            await asyncio.sleep(min(float(answer.headers["retry-after"]), _PAUSE_MAX_S))

    def _heed(self, what: str, answer: Answer) -> bool:
        """Return whether it is to be asked again; note anything else, which clients should never be told."""
        if answer.status == 503 and answer.headers.get("retry-after", "").isdigit():
            self._evidence.unavailable += 1
            return True
        self._evidence.refusals.append(f"{what} was told {answer.status} {answer.body[:200]!r}")
        return False

    def _any_gateway(self) -> str:
        return self._dice.choice(self._gateways())

    async def _read(self) -> None:
        """Read lists all the while: they have the same right to a decent answer."""
        connections = Connections()
        headers = {"authorization": f"Bearer {self._tenancy.key}"}
        while not self._stopping:
            path = self._dice.choice(("/api/v1/events?limit=5", "/api/v1/deliveries?limit=5", "/api/v1/destinations"))
            with suppress(OSError, EOFError, TimeoutError, ValueError):
                answer = await connections.ask(self._any_gateway(), "GET", path, headers)
                if answer.status != 200:
                    self._heed(path, answer)
            await asyncio.sleep(_PAUSE_S)
        connections.close()

    # -- what each dialect posts ------------------------------------------------------------------------

    async def _script(self, number: int, dialect: str, connections: Connections) -> AsyncIterator[Wanted]:
        at = 0
        while True:
            if dialect == "pushgo":
                # An incident is opened and closed: the generator learns its id from the first answer.
                lane, opened = f"{number} {at}", ""
                for place in range(_INCIDENT_STEPS):
                    wanted = self._pushgo(f"chaos/{number}-{at}", lane, place, opened)
                    yield wanted
                    opened = opened or next(iter(wanted.posting.ids), "")
                    at += 1
                    if not opened:
                        break
                continue
            name = f"chaos/{number}-{at}"
            yield self._promptjang(name, number, at) if dialect == "promptjang" else self._plain(name, dialect)
            at += 1

    def _pushgo(self, name: str, lane: str, place: int, opened: str) -> Wanted:
        action = "create" if place == 0 else "close" if place == _INCIDENT_STEPS - 1 else "update"
        fields = {"event_id": opened} if place else {}
        status = "closed" if action == "close" else "ongoing"
        body = incident(
            self._tenancy.channel,
            PASSWORD,
            op_id=name.replace("/", "-"),
            message=name,
            status=status,
            event_time=1_713_750_000 + place,
            **fields,
        )
        posting = Posting(name, frozenset({ALL, ORDERED}), lane, place)
        # An update is answered with the id of the event that opened the incident.
        return Wanted(posting, self._maker(f"/event/{action}", body), None if place else ("data", "event_id"))

    def _promptjang(self, name: str, number: int, at: int) -> Wanted:
        lane = f"{number} lane {at % _LANES}"
        body = json.dumps({"event_type": "load", "name": name}).encode()

        def made() -> tuple[str, dict[str, str], bytes]:
            headers = {
                "authorization": f"Bearer {self._tenancy.key}",
                "content-type": "application/json",
                "idempotency-key": name,
                "x-pj-correlation-id": lane.replace(" ", "-"),
                **signed(self._tenancy.endpoint_secret, body),
            }
            return f"/e/{self._tenancy.endpoint_id}", headers, body

        posting = Posting(name, frozenset({ALL, ORDERED, ENDPOINT}), lane, at // _LANES)
        return Wanted(posting, made, ("id",))

    def _plain(self, name: str, dialect: str) -> Wanted:
        posting = Posting(name, frozenset({ALL}))
        if dialect == "buildable":
            return Wanted(posting, self._maker("/emit", {"event": "load", "payload": {"name": name}}, name), ("key",))
        if dialect == "pingpilot":
            body = {"category": "bug", "description": name}
            return Wanted(posting, self._maker("/api/v1/event", body, name), ("eventId",))
        own = uuid.uuid5(uuid.NAMESPACE_URL, name)
        return Wanted(posting, self._maker(f"/events/v2/projects/chaos/events/load?id={own}", {"name": name}))

    def _maker(self, path: str, body: object, key: str | None = None) -> Made:
        headers = {
            "authorization": f"Bearer {self._tenancy.key}",
            "x-buildable-secret": self._tenancy.key,
            "content-type": "application/json",
        }
        if key is not None:
            headers["idempotency-key"] = key
        raw = json.dumps(body).encode()
        return lambda: (path, headers, raw)


def _at(body: bytes, path: tuple[str, ...] | None) -> str:
    """Return the id that an answer holds there, in hex; nothing without one."""
    if path is None:
        return ""
    found = json.loads(body)
    for member in path:
        found = found[member]
    return str(found).removeprefix("evt_")
