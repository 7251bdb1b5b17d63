"""What a cluster says of itself: which tables are distributed over its shards, and which buckets lie in one.

Source: docs.citusdata.com, "Citus Tables and Views" and "Citus Utility Functions".
"""

from __future__ import annotations

import msgspec

from tocsin.core.identifiers import BUCKETS
from tocsin.engine.postgres.parts import ONE_PART, Parts
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.rows import EngineRefused

DISTRIBUTED = (
    "event",
    "replayed",
    "idempotency",
    "incident",
    "delivery",
    "lane",
    "delivery_history",
    "attempt",
    "posted",
    "consumer_transaction",
)
"""The tables that are distributed by their bucket. Each of the others stays whole, on the coordinator."""

_HAS_CLUSTER = "select to_regclass('pg_dist_partition') is not null"
_DISTRIBUTIONS = """
select wanted.name, case when partmethod = 'h' then column_to_column_name(logicalrelid, partkey) end, colocationid
from unnest($1::text[]) as wanted (name) join pg_dist_partition on logicalrelid = to_regclass(wanted.name)
"""
_SHARDS = """
select bucket, get_shard_id_for_distribution_column('event', bucket::smallint)
from generate_series(0, $1::integer - 1) as every (bucket)
"""


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """How one table is distributed.

    Attributes:
        column: by whose hash; None where it is not by a hash.
        group: tables of one group keep what has the same hash in the same place.
    """

    column: str | None
    group: int


async def has_cluster(connection: Connection) -> bool:
    """Return whether the database has what distributes tables, used or not."""
    return bool(await connection.fetchval(_HAS_CLUSTER))


async def distributions(connection: Connection) -> dict[str, Distribution]:
    """Return how those of our tables are distributed that are; needs a cluster."""
    rows = await connection.fetch(_DISTRIBUTIONS, DISTRIBUTED)
    return {row[0]: Distribution(column=row[1], group=row[2]) for row in rows}


def check_distributions(found: dict[str, Distribution]) -> None:
    """Return if the tables that are distributed are so by their bucket, and lie together.

    Raises:
        EngineRefused: they are not.
    """
    wrong = sorted(name for name, each in found.items() if each.column != "bucket")
    if wrong:
        raise EngineRefused(
            f"{', '.join(wrong)} must be distributed by bucket, and is not; take that back with undistribute_table"
        )
    if len({each.group for each in found.values()}) > 1:
        raise EngineRefused("the tables are not co-located; take their distribution back with undistribute_table")


async def found_parts(connection: Connection) -> Parts:
    """Return how the buckets are spread: all in one part, unless the tables are distributed over shards.

    Raises:
        EngineRefused: they are distributed, but not all of them, or in another way than ours.
    """
    found = await distributions(connection) if await has_cluster(connection) else {}
    if not found:
        return ONE_PART
    check_distributions(found)
    if len(found) < len(DISTRIBUTED):
        raise EngineRefused("the store is distributed in part; go on with: tocsin db distribute")
    shards: dict[int, list[int]] = {}
    for bucket, shard in await connection.fetch(_SHARDS, BUCKETS):
        shards.setdefault(shard, []).append(bucket)
    return Parts([shards[shard] for shard in sorted(shards)], is_cluster=True)
