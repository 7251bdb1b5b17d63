"""Choosing what to lease, each destination in its turn, whether the queue lies in one part or in many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from tocsin.core.identifiers import DestinationId, bucket_of
from tocsin.engine.postgres.parts import Buckets
from tocsin.engine.postgres.sql import Connection, Row, fetch_by_ids, fetch_part
from tocsin.engine.rounds import Turn, first_turns, in_rounds


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be leased.

    Attributes:
        limit: how many in all.
        per_destination: how many of each.
        skip: destinations that get none.
    """

    limit: int
    per_destination: int
    lease_until_ms: int
    skip: frozenset[DestinationId]
    now_ms: int


async def lease(connection: Connection, asked: Asked) -> list[Row]:
    """Lease due deliveries, each destination's oldest first, in rounds over the destinations.

    Returns:
        id, event, destination, lease, attempts, lane and where the retries count from, in the order of the rounds.
    """
    if len(connection.parts.all) == 1:
        chosen = await _hold_of_one(connection, asked)
        rows = await fetch_by_ids(connection, "lease_deliveries", chosen, asked.lease_until_ms)
    else:
        claim = _SpreadClaim(connection, asked)
        await claim.take()
        chosen, rows = in_rounds(map(sorted, claim.turns.values()), limit=asked.limit), claim.leased
    found = {row[0]: row for row in rows}
    return [found[each] for each in chosen if each in found]


async def _hold_of_one(connection: Connection, asked: Asked) -> list[bytes]:
    """Return due deliveries, locked; what another process claims at the same moment is passed over."""
    (buckets,) = connection.parts.all
    # Every destination comes first to its first turn: those behind the limit are left out from the start.
    heads = await fetch_part(connection, "longest_due", buckets, asked.now_ms, list(asked.skip), asked.limit)

    async def hold(destinations: Sequence[bytes], turns: int) -> list[Row]:
        return await fetch_part(connection, "due_of_destinations", buckets, destinations, asked.now_ms, turns)

    due = await _due([row[0] for row in heads], hold, asked)
    return in_rounds(due.values(), limit=asked.limit)


_Look = Callable[[Sequence[bytes], int], Awaitable[Sequence[Row]]]
"""Returns so many turns of each destination: destination, bucket, id, due; each one's in the order of its turns."""


async def _due(destinations: Sequence[bytes], look: _Look, asked: Asked) -> dict[bytes, list[Turn]]:
    """Return due deliveries of the destinations, enough of each for its rounds.

    No more are read of a destination than its turns need: their number is guessed, and doubled where it falls short.
    """
    due: dict[bytes, list[Turn]] = {}
    if not destinations:
        return due
    turns = first_turns(len(destinations), limit=asked.limit, per_destination=asked.per_destination)
    deeper = destinations
    while deeper:
        due.update({each: [] for each in deeper})
        for row in await look(deeper, turns):
            due[row[0]].append((row[3], row[2]))
        if turns >= asked.per_destination or sum(map(len, due.values())) >= asked.limit:
            break
        deeper = [each for each in deeper if len(due[each]) == turns]
        turns = min(asked.per_destination, 2 * turns)
    return due


class _SpreadClaim:
    """A claim on a queue in many parts: all are looked at, which says how many each of them is to give.

    So no more are locked than are leased. Where another process was quicker in one part, the others make up for it.

    Attributes:
        leased: rows of what was leased.
        turns: the same by destination, as they were due before, those of one part after those of another.
    """

    def __init__(self, connection: Connection, asked: Asked) -> None:
        self._connection = connection
        self._asked = asked
        self._where: dict[bytes, set[Buckets]] = {}
        self.leased: list[Row] = []
        self.turns: dict[bytes, list[Turn]] = {}

    async def take(self) -> None:
        """Lease what is due."""
        due = await _due(await self._longest_due(), self._look, self._asked)
        whose = {turn[1]: destination_id for destination_id, found in due.items() for turn in found}
        wanted = [(bucket_of(each), whose[each]) for each in in_rounds(due.values(), limit=self._asked.limit)]
        lacking = Counter(destination_id for _, destination_id in wanted)
        for buckets, rows in self._connection.parts.split(wanted):
            lacking -= await self._take_of(buckets, Counter(destination_id for _, destination_id in rows))
        for buckets in self._in_turn():
            shares = {each: count for each, count in lacking.items() if buckets in self._where[each]}
            if shares:
                lacking -= await self._take_of(buckets, shares)

    async def _longest_due(self) -> list[bytes]:
        """Return the destinations that get a first turn, the longest due first."""
        asked, earliest_ms = self._asked, dict[bytes, int]()
        for buckets in self._connection.parts.all:
            bindings = (asked.now_ms, list(asked.skip), asked.limit)
            for destination_id, due_ms in await fetch_part(self._connection, "longest_due", buckets, *bindings):
                earliest_ms[destination_id] = min(due_ms, earliest_ms.get(destination_id, due_ms))
                self._where.setdefault(destination_id, set()).add(buckets)
        return sorted(earliest_ms, key=lambda each: (earliest_ms[each], each))[: asked.limit]

    async def _look(self, destinations: Sequence[bytes], turns: int) -> list[Row]:
        found: list[Row] = []
        for buckets in self._connection.parts.all:
            here = [each for each in destinations if buckets in self._where[each]]
            if here:
                bindings = (here, self._asked.now_ms, turns)
                found += await fetch_part(self._connection, "next_of_destinations", buckets, *bindings)
        found.sort(key=lambda row: (row[3], row[2]))
        seen: Counter[bytes] = Counter()
        nearest = []
        for row in found:
            seen[row[0]] += 1
            if seen[row[0]] <= turns:
                nearest.append(row)
        return nearest

    async def _take_of(self, buckets: Buckets, shares: Mapping[bytes, int]) -> Counter[bytes]:
        """Lease so many of each destination in one part; return how many there were."""
        bindings = (list(shares), list(shares.values()), self._asked.now_ms)
        held = await fetch_part(self._connection, "shares_of_destinations", buckets, *bindings)
        for destination_id, _, delivery_id, due_ms in held:
            self.turns.setdefault(destination_id, []).append((due_ms, delivery_id))
        self.leased += await fetch_by_ids(
            self._connection, "lease_deliveries", [row[2] for row in held], self._asked.lease_until_ms
        )
        return Counter(row[0] for row in held)

    def _in_turn(self) -> Iterable[Buckets]:
        """Return the parts, beginning with another one each time."""
        parts = self._connection.parts.all
        start = self._asked.now_ms % len(parts)
        return (*parts[start:], *parts[:start])
