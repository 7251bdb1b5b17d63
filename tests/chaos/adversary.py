"""Who breaks things, at random and by a seed that tells it all again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any

import asyncpg

from chaos.evidence import Evidence, Pause
from chaos.installation import Installation, Member
from chaos.witness import Witness

WAIT_MAX_S = 120.0
_LOOK_EVERY_S = 0.05
_BACKEND_ROUNDS = 3
_COMMITS_CUT_MAX = 6
_AWAY_MAX_S = 2.0
"""Of the server."""

_BACKENDS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()"
_LEASED = "select encode(event_id, 'hex'), destination_id, id from delivery where state = 1"
_LIVE = "select id from delivery"
_LATE = "select delivery_id from attempt where number = 0"


class Fault(StrEnum):
    """What may strike."""

    GATEWAY_KILLED = "gateway killed"
    DISPATCHER_KILLED = "dispatcher killed"
    GATEWAY_PAUSED = "gateway paused"
    DISPATCHER_PAUSED = "dispatcher paused"
    SERVER_KILLED = "server killed"
    CONNECTIONS_DROPPED = "connections dropped"
    BACKENDS_TERMINATED = "backends terminated"
    COMMITS_CUT = "commits cut"


class Adversary:
    """Lets faults strike an installation.

    Args:
        paths: of the receiver's, by the destination's id.
    """

    def __init__(
        self,
        installation: Installation,
        witness: Witness,
        paths: dict[bytes, str],
        dice: random.Random,
        evidence: Evidence,
    ) -> None:
        self._installation = installation
        self._witness = witness
        self._paths = paths
        self._dice = dice
        self._evidence = evidence
        self._pausing: asyncio.Task[None] | None = None

    async def strike(self, fault: Fault) -> None:
        """Let one strike; return once what was killed is there again.

        A dispatcher that is stopped stays so while other faults strike, but for those of dispatchers.
        """
        if fault in (Fault.DISPATCHER_KILLED, Fault.DISPATCHER_PAUSED):
            await self.end()
        match fault:
            case Fault.GATEWAY_KILLED:
                await self._kill(self._installation.gateways)
            case Fault.DISPATCHER_KILLED:
                await self._kill(self._installation.dispatchers)
            case Fault.GATEWAY_PAUSED:
                await self._pause_gateway()
            case Fault.DISPATCHER_PAUSED:
                await self._pause_dispatcher(self._dice.choice(self._installation.dispatchers))
            case Fault.SERVER_KILLED:
                await self._kill_server()
            case Fault.CONNECTIONS_DROPPED:
                self._installation.proxy.drop_all()
            case Fault.BACKENDS_TERMINATED:
                await self._terminate_backends()
            case Fault.COMMITS_CUT:
                self._installation.proxy.cuts_left = self._dice.randint(1, _COMMITS_CUT_MAX)
                await until(self._all_cut)
        self._evidence.faults[fault] += 1

    async def end(self) -> None:
        """Return once no dispatcher is stopped any more."""
        if self._pausing is not None:
            pausing, self._pausing = self._pausing, None
            await pausing

    async def _kill(self, members: Sequence[Member]) -> None:
        victim = self._dice.choice(members)
        # The process that sends may outlive it for a moment, and sends on.
        await asyncio.to_thread(victim.kill, family=self._dice.random() < 0.5)
        await asyncio.to_thread(victim.start)

    async def _kill_server(self) -> None:
        await asyncio.to_thread(self._installation.server.kill)
        await asyncio.sleep(self._dice.uniform(0.0, _AWAY_MAX_S))
        await asyncio.to_thread(self._installation.server.start)

    async def _pause_gateway(self) -> None:
        victim = self._dice.choice(self._installation.gateways)
        victim.pause()
        # Its clients run out of patience, and ask the other one.
        await asyncio.sleep(self._dice.uniform(2.5, 4.0))
        victim.resume()

    async def _pause_dispatcher(self, victim: Member) -> None:
        """Stop it in the midst of attempts; it goes on once its leases are over and others have made them again."""

        async def is_to_be_answered() -> bool:
            return bool(self._witness.held.keys() & victim.ports())

        mine: dict[bytes, tuple[str, str]] = {}
        while True:
            await until(is_to_be_answered)
            victim.pause()
            ports = victim.ports()
            held = {(each.event_id, each.path) for port, each in self._witness.held.items() if port in ports}
            leased = {row[2]: (row[0], self._paths[row[1]]) for row in await self._fetch(_LEASED)}
            mine = {delivery_id: key for delivery_id, key in leased.items() if key in held}
            if mine:
                break
            victim.resume()
        self._evidence.pauses.append(Pause(frozenset(leased.values()), frozenset(mine.values())))
        self._pausing = asyncio.create_task(self._resume_late(victim, set(mine)))

    async def _resume_late(self, victim: Member, mine: set[bytes]) -> None:
        """Let a dispatcher go on once others have delivered what it had; return when it has told of that too late."""

        async def are_over() -> bool:
            return mine.isdisjoint(row[0] for row in await self._fetch(_LIVE))

        async def are_late() -> bool:
            return mine <= {row[0] for row in await self._fetch(_LATE)}

        try:
            await until(are_over)
        finally:
            victim.resume()
        await until(are_late)

    async def _terminate_backends(self) -> None:
        connection = await asyncpg.connect(self._installation.server.dsn("postgres"))
        try:
            for _ in range(_BACKEND_ROUNDS):
                await connection.execute(_BACKENDS, self._installation.database)
                await asyncio.sleep(self._dice.uniform(0.0, 0.2))
        finally:
            await connection.close()

    async def _all_cut(self) -> bool:
        return self._installation.proxy.cuts_left == 0

    async def _fetch(self, statement: str) -> list[Any]:
        """Return what a statement gives, once the server answers."""
        async with asyncio.timeout(WAIT_MAX_S):
            while True:
                try:
                    return await self._fetch_once(statement)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    await asyncio.sleep(_LOOK_EVERY_S)

    async def _fetch_once(self, statement: str) -> list[Any]:
        connection = await asyncpg.connect(self._installation.dsn)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds."""
    async with asyncio.timeout(WAIT_MAX_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(_LOOK_EVERY_S)
