"""The longest texts of events and consumer groups in the indexes of PostgreSQL, whose rows have a bound."""

from __future__ import annotations

from typing import Any

import asyncpg

from engine.postgres_server import play_on
from tocsin.core.environment import Environment
from tocsin.core.event import INDEXED_BYTES_MAX, Severity, is_indexable
from tocsin.core.transaction import TX_KEY_BYTES_MAX
from tocsin.engine.rows import AcceptFailed, StandingQuery
from tocsin.engine.runs import RUN_MIN
from tocsin.testing.engine_contract import Stage
from tocsin.testing.engine_contract.consuming import begin_step

HOUR_MS = 3_600_000


def noise(stage: Stage, size_bytes: int) -> str:
    """Return a text of four bytes a character, of which no server can make less."""
    return "".join(chr(stage.random.randrange(0x10000, 0x30000)) for _ in range(size_bytes // 4))


def test_the_longest_texts_fit_into_every_index_with_what_stands_beside_them(dsn: str) -> None:
    async def play(stage: Stage) -> None:
        longest = noise(stage, INDEXED_BYTES_MAX)
        assert is_indexable(longest)
        assert not is_indexable(longest + "a")
        tx_key = noise(stage, TX_KEY_BYTES_MAX)
        subject = noise(stage, INDEXED_BYTES_MAX)
        texts: dict[str, Any] = {
            "source": longest,
            "type": longest,
            "subject": subject,
            "severity": Severity.CRITICAL,
        }
        # Two bytes more than the subject has the lane of what is urgent while its destination has quiet hours.
        lane = subject.encode() + b"\0\0"
        new = [stage.new(stage.destination(), lane=lane, **texts) for _ in range(RUN_MIN)]
        await stage.store(*new)
        steps = [begin_step(stage, each.event.id, tx_key, lease_ms=HOUR_MS) for each in new]
        assert not any(isinstance(each, Exception) for each in await stage.engine.transact(steps))
        for lease in await stage.claim():
            assert lease.lane == lane
            assert await stage.finish(lease)
        stage.clock.advance_ms(HOUR_MS // 2)
        query = StandingQuery(
            organisation_id=stage.organisation, tx_key=tx_key, type=longest, environment=Environment.LIVE
        )
        assert await stage.all(query) == []
        await stage.reopen()
        assert await _count(dsn, "consumer_run") == 1
        too_long = stage.new(type=noise(stage, 2704))
        (refused,) = await stage.judge(too_long)
        assert isinstance(refused, AcceptFailed)

    play_on(dsn, play, listens=False)


async def _count(dsn: str, table: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval(f"select count(*) from {table}"))
    finally:
        await connection.close()
