"""A store with a little of everything in it, and what is asked of it, by connections of a test's own."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tocsin.core.delivery import DeliveryPhase, DeliveryState, EventStatus
from tocsin.core.destination import Filter
from tocsin.core.device import Device, Platform
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import DeliveryId, EventId, bucket_of
from tocsin.core.incident import IncidentAction, IncidentChange
from tocsin.core.transaction import TransactionState
from tocsin.engine.bounds import ScanBounds
from tocsin.engine.postgres.parts import ONE_PART, Parts
from tocsin.engine.postgres.search import search
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.postgres.tail import tail
from tocsin.engine.rows import (
    AttemptQuery,
    AuditQuery,
    DeliveryQuery,
    EventQuery,
    IncidentQuery,
    JobQuery,
    MailboxQuery,
    NewEvent,
    Page,
    PutItem,
    Query,
    SaveDevice,
    StandingQuery,
    SubscriptionQuery,
    TailPage,
    TransactionQuery,
)
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step, end_step

WIDE = ScanBounds(time_max_s=60.0, count_max_s=60.0, thorough_count_max_s=60.0, query_max_s=60.0)
_BATCH = 10
_NAMES = ("order.paid", "order.sent", "stock.lost", "stock.found")


@asynccontextmanager
async def connected(dsn: str, parts: Parts = ONE_PART) -> AsyncIterator[Connection]:
    """Lend a connection that takes the buckets to lie in these parts."""
    made: Any = await asyncpg.connect(dsn, connection_class=Connection)
    made.parts = parts
    try:
        yield made
    finally:
        await made.close()


async def page_of(connection: Connection, query: Query[Any], bounds: ScanBounds = WIDE, **more: Any) -> Page[Any]:
    """Return what a search finds, in a transaction as the engine has it."""
    asked = {"limit": 12, "cursor": None, "offset": 0, "now_ms": 0} | more
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return (await search(connection, query, bounds=bounds, **asked)).page


async def tail_of(connection: Connection, cursor: int | None, limit: int, **more: Any) -> TailPage:
    """Return a page of the tail; ``more`` is what differs from all that can be told."""
    asked: dict[str, Any] = {
        "back": 0,
        "organisations": None,
        "with_data": True,
        "with_destinations": True,
        "page_bytes_max": 10**6,
    }
    return await tail(connection, cursor, limit, **(asked | more))


class FilledStore:
    """A store that is filled by an engine.

    Args:
        seed: of what is drawn; the same in every run.

    Attributes:
        events: as they were stored, in that order.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        self.stage = stage
        self.events: list[Event] = []
        self.destinations = stage.destinations(3)
        self._random = random.Random(seed)

    async def fill(self, count: int) -> None:
        """Store so many events, and let become of each what may become of it."""
        stage, draw = self.stage, self._random
        device = Device(key="d", organisation_id=stage.organisation, platform=Platform.ANDROID, changed_ms=0)
        await stage.engine.mailbox_write([SaveDevice(device)])
        while len(self.events) < count:
            batch = [self._new() for _ in range(min(_BATCH, count - len(self.events)))]
            self.events += [each.event for each in await stage.store(*batch)]
        for lease in await stage.claim():
            if draw.random() < 0.7:
                await stage.finish(lease, draw.choice([DeliveryState.DELIVERED, DeliveryState.EXPIRED]))
            elif draw.random() < 0.5:
                await stage.put_off(lease, stage.clock.now_ms() + 10_000)
        ours = [each for each in self.events if each.organisation_id == stage.organisation]
        begun = [each.id for each in ours if each.environment is Environment.LIVE and draw.random() < 0.6]
        await stage.engine.transact([begin_step(stage, each, lease_ms=draw.choice([None, 5])) for each in begun])
        await stage.engine.transact([end_step(stage, each, output="o") for each in begun if draw.random() < 0.4])
        await stage.engine.mailbox_write([self._item(each.id) for each in ours if draw.random() < 0.3])
        stage.clock.advance_ms(100)

    def _new(self) -> NewEvent:
        stage, draw = self.stage, self._random
        stage.clock.advance_ms(draw.randrange(3))
        opens = IncidentChange(
            action=IncidentAction.CREATE, channel="c", at_ms=stage.clock.now_ms(), profile={}, attrs={}
        )
        return stage.new(
            *draw.sample(self.destinations, draw.choice([0, 1, 1, 2])),
            organisation=draw.choices([stage.organisation, stage.foreign], [9, 1])[0],
            incident=opens if draw.random() < 0.1 else None,
            replay_of=draw.choice(self.events).id if self.events and draw.random() < 0.1 else None,
            type=draw.choice(_NAMES),
            source=draw.choice("ab"),
            subject=draw.choice([None, "s", f"s{draw.randrange(40)}"]),
            severity=draw.choice([None, Severity.HIGH]),
            dialect=draw.choice([Dialect.TOCSIN, Dialect.PUSHGO]),
            environment=draw.choices([Environment.LIVE, Environment.TEST], [4, 1])[0],
            data=f'{{"n":"{draw.randrange(5)}","long":"{"x" * draw.randrange(300)}"}}'.encode(),
        )

    def _item(self, event_id: EventId) -> PutItem:
        item_id = DeliveryId(self.stage.id(bucket_of(event_id)))
        return PutItem(self.stage.organisation, "d", item_id, event_id, 2**50)

    def queries(self) -> list[Query[Any]]:
        """Return some of every kind, a few that match nothing among them."""
        organisation, one = self.stage.organisation, self._random.choice(self.events)
        middle = self.events[len(self.events) // 2].time_ms
        events: list[dict[str, Any]] = [
            {},
            {"ascending": True, "with_data": False},
            {"environment": Environment.TEST},
            {"type": one.type, "since_ms": middle},
            {"source": "a", "until_ms": middle},
            {"subject": "s"},
            {"severity": Severity.HIGH, "ascending": True},
            {"dialect": Dialect.PUSHGO, "unreplayed": True},
            {"filter": Filter(types=("order.*",), subjects=("s1*", "s2*"))},
            {"filter": Filter(types=("nothing*",))},
            {"text": '"3"'},
            {"destination_id": self.destinations[0]},
            {"destination_id": self.destinations[1], "type": one.type, "thorough": True},
            *({"status": status} for status in EventStatus),
            *({"status": status, "filter": Filter(sources=("a*",))} for status in EventStatus),
        ]
        deliveries: list[dict[str, Any]] = [
            {},
            {"ascending": True, "with_data": False, "thorough": True},
            {"destination_id": self.destinations[0]},
            {"event_id": one.id},
            {"event_type": one.type, "unreplayed": True, "environment": Environment.LIVE},
            {"phases": frozenset({DeliveryPhase.EXPIRED, DeliveryPhase.RETRYING})},
        ]
        transactions: list[dict[str, Any]] = [{}, {"tx_key": "k"}, {"event_id": one.id}, {"type": one.type}]
        group: dict[str, Any] = {"tx_key": "k", "type": one.type, "environment": Environment.LIVE}
        return [
            *(EventQuery(organisation_id=organisation, **each) for each in events),
            *(DeliveryQuery(organisation_id=organisation, **each) for each in deliveries),
            AttemptQuery(organisation_id=organisation),
            AttemptQuery(organisation_id=organisation, event_id=one.id),
            *(TransactionQuery(organisation_id=organisation, **each) for each in transactions),
            *(StandingQuery(organisation_id=organisation, state=each, **group) for each in (None, *TransactionState)),
            IncidentQuery(organisation_id=organisation, environment=Environment.LIVE),
            SubscriptionQuery(organisation_id=organisation, device_key="d"),
            MailboxQuery(organisation_id=organisation, device_key="d", now_ms=0),
            MailboxQuery(organisation_id=self.stage.foreign, device_key="d", now_ms=0),
            JobQuery(organisation_id=organisation),
            AuditQuery(organisation_id=organisation),
        ]
