"""One chaos run: the installation, its clients, the receiver, and who breaks things; then all is drained and read."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from chaos.adversary import WAIT_MAX_S, Adversary, Fault, until
from chaos.clients import ALL, ENDPOINT, Load, Tenancy
from chaos.evidence import Attempt, Evidence, StoredDelivery, StoredEvent
from chaos.installation import TIMEOUT_S, Installation, dropping_proxy
from chaos.judging import ORDERED
from chaos.witness import NAME, Witness, witnessing
from engine.postgres_server import PostgresServer
from gateway import Process
from tenants import Tenant
from tocsin.core.identifiers import parse_prefixed
from tocsin.engine.codec import attempt_of

CLIENTS = ("pushgo",) * 3 + ("promptjang",) * 2 + ("buildable", "nativeframe", "pingpilot")

_LOOK_EVERY_S = 0.1
_SCHEDULE_S = [0.1, 0.3, *[1.0] * 40]

_EVENTS = "select encode(id, 'hex'), seq, data from event where type not like 'tocsin.%'"
_DELIVERIES = """
select encode(event_id, 'hex'), destination_id, state, attempts, id from delivery
union all
select encode(event_id, 'hex'), destination_id, state, attempts, id from delivery_history
"""
_ATTEMPTS = "select delivery_id, number, body from attempt order by seq"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen.

    Attributes:
        seed: of all that is left to chance.
        faults: what strikes, one after the other.
        arrivals_between: deliveries that come in before each fault, and after the last.
        arrivals_min: deliveries that come in in all.
        pause_s: how long nothing strikes beside that, at the least.
        repeats: events that are posted again in the end.
        clients: the dialect of each.
        is_durable: whether what is acknowledged is on the disk; without it, runs must fail.
        note: is told what happens.
    """

    seed: int
    faults: Sequence[Fault]
    arrivals_between: int
    arrivals_min: int = 0
    pause_s: float = 0.0
    repeats: int = 300
    clients: Sequence[str] = CLIENTS
    is_durable: bool = True
    note: Callable[[str], None] = print


def play(plan: Plan, server: PostgresServer, directory: Path) -> Evidence:
    """Carry out a plan on an empty database of this server; return what is known then."""
    with server.database() as database:
        return asyncio.run(_play(plan, server, database, directory))


async def _play(plan: Plan, server: PostgresServer, database: str, directory: Path) -> Evidence:
    dice = random.Random(plan.seed)
    evidence = Evidence()
    dsn = server.dsn(database)
    async with witnessing(dice) as witness, dropping_proxy(dsn, lies=not plan.is_durable) as proxy:
        installation = Installation(server, database, proxy, directory)
        try:
            api_key = await asyncio.to_thread(installation.initialise)
            await installation.start()
            one, two = installation.base_urls()
            tenancy, paths = await asyncio.to_thread(_furnish, one, api_key, witness.url)
            await asyncio.to_thread(_known, two, api_key, tenancy.channel)
            if not plan.is_durable:
                await asyncio.to_thread(installation.keep_in_memory)
            adversary = Adversary(installation, witness, paths, dice, evidence)
            load = Load(tenancy, installation.base_urls, dice, evidence)
            begun_s = time.monotonic()
            posting = asyncio.create_task(load.run(plan.clients))
            await _strike_all(plan, adversary, witness, posting)
            load.stop()
            async with asyncio.timeout(WAIT_MAX_S):
                await posting
            await _drained(installation.dsn)
            evidence.took_s = time.monotonic() - begun_s
            await load.repeat(plan.repeats)
            evidence.statuses = await installation.stop()
            evidence.log_faults = [fault for each in installation.members for fault in each.faults]
            evidence.stored = await _stored(installation.dsn, paths)
            evidence.arrivals = list(witness.arrivals)
        except BaseException:
            await asyncio.to_thread(installation.abandon)
            plan.note(installation.last_words())
            raise
        finally:
            await asyncio.to_thread(installation.abandon)
    return evidence


async def _strike_all(plan: Plan, adversary: Adversary, witness: Witness, posting: asyncio.Task[None]) -> None:
    for fault in plan.faults:
        await _further(plan, witness, posting)
        plan.note(f"{len(witness.arrivals)} arrivals; {fault}")
        await adversary.strike(fault)
    await adversary.end()
    await _further(plan, witness, posting)
    while len(witness.arrivals) < plan.arrivals_min:
        await _further(plan, witness, posting)


async def _further(plan: Plan, witness: Witness, posting: asyncio.Task[None]) -> None:
    """Return once more has come in, and no sooner than the plan says."""
    waiting = asyncio.create_task(witness.wait_for(len(witness.arrivals) + plan.arrivals_between))
    async with asyncio.timeout(WAIT_MAX_S + plan.pause_s):
        await asyncio.sleep(plan.pause_s)
        await asyncio.wait([waiting, posting], return_when=asyncio.FIRST_COMPLETED)
    if posting.done():
        waiting.cancel()
        await posting
        raise AssertionError("the clients have stopped")


# -- before ------------------------------------------------------------------------------------------------


def _furnish(base_url: str, api_key: str, receiver_url: str) -> tuple[Tenancy, dict[bytes, str]]:
    """Make what clients post to; return it, and the receiver's paths by the destination's id."""
    tenant = Tenant(Process(Path(), base_url=base_url), api_key)
    _categorise(tenant)
    before = {each["id"] for each in tenant.get("/api/v1/destinations")["destinations"]}
    endpoint = tenant.endpoint(receiver_url + ENDPOINT)
    shared = {"retry": {"schedule_s": _SCHEDULE_S, "jitter": 0.2}, "timeout_s": TIMEOUT_S, "concurrency": 3}
    for path, fields in ((ALL, {}), (ORDERED, {"ordered": True, "filter": {"dialects": ["pushgo", "promptjang"]}})):
        wanted = {"name": path, "transport": "webhook", "address": {"url": receiver_url + path}}
        tenant.post("/api/v1/destinations", wanted | shared | fields)
    paths = {}
    for each in tenant.get("/api/v1/destinations")["destinations"]:
        if each["id"] in before:
            continue
        identifier = parse_prefixed("dst", each["id"])
        assert identifier is not None
        paths[identifier] = each["address"]["url"].removeprefix(receiver_url)
        if paths[identifier] == ENDPOINT:
            # Its own schedule would have the run wait for half a minute.
            assert tenant.ask("PATCH", f"/api/v1/destinations/{each['id']}", shared).status == 200
    return Tenancy(api_key, tenant.channel(), endpoint["id"], endpoint["secret"]), paths


def _categorise(tenant: Tenant) -> None:
    """Make what PingPilot asks for: a category, and somebody who could be told, who is sent nothing."""
    tenant.post("/api/v1/categories", {"name": "bug", "color": "#ff6b6b"})
    tenant.put("/api/v1/account", {"email": {"enabled": True, "to": ["ops@example.com"]}})
    for each in tenant.get("/api/v1/destinations")["destinations"]:
        changes = {"filter": {"types": ["nothing"]}, "timeout_s": TIMEOUT_S}
        assert tenant.ask("PATCH", f"/api/v1/destinations/{each['id']}", changes).status == 200


def _known(base_url: str, api_key: str, channel: str) -> None:
    """Return once another gateway knows the channel, which was made last."""
    tenant = Tenant(Process(Path(), base_url=base_url), api_key)
    deadline_s = time.monotonic() + WAIT_MAX_S
    while channel not in {each["id"] for each in tenant.get("/api/v1/channels")["channels"]}:
        assert time.monotonic() < deadline_s, "the other gateway does not learn of what was made"
        time.sleep(_LOOK_EVERY_S)


# -- afterwards --------------------------------------------------------------------------------------------


async def _drained(dsn: str) -> None:
    """Return once nothing is live any more."""
    connection = await asyncpg.connect(dsn)
    try:

        async def is_empty() -> bool:
            return not await connection.fetchval("select count(*) from delivery")

        await until(is_empty)
    except TimeoutError:
        left = await connection.fetch("select state, due_ms, lease, attempts, error from delivery limit 20")
        raise AssertionError(f"what was accepted does not come to its end: {left}") from None
    finally:
        await connection.close()


async def _stored(dsn: str, paths: dict[bytes, str]) -> list[StoredEvent]:
    connection = await asyncpg.connect(dsn)
    try:
        events = await connection.fetch(_EVENTS)
        deliveries = await connection.fetch(_DELIVERIES)
        tried = await connection.fetch(_ATTEMPTS)
    finally:
        await connection.close()
    attempts: dict[bytes, list[Attempt]] = {}
    for row in tried:
        attempt = attempt_of(row[2])
        attempts.setdefault(row[0], []).append(Attempt(row[1], attempt.error_class is None))
    by_event: dict[str, list[StoredDelivery]] = {}
    for row in deliveries:
        stored = StoredDelivery(paths.get(row[1], row[1].hex()), row[2], row[3], tuple(attempts.get(row[4], ())))
        by_event.setdefault(row[0], []).append(stored)
    return [StoredEvent(_name(row[2]), row[0], row[1], tuple(by_event.get(row[0], ()))) for row in events]


def _name(data: Any) -> str:
    found = NAME.search(data)
    return repr(data[:80]) if found is None else found.group().decode()
