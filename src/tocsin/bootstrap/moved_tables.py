"""The tables of a store, as they are moved from SQLite to PostgreSQL: columns, keys, and what becomes of a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b, sha256
from typing import Any, TypeAlias

import msgspec

from tocsin.core.identifiers import bucket_of
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.postgres.texts import held, held_value

Row: TypeAlias = tuple[Any, ...]

_LONG = frozenset({"data", "extension", "body", "output"})
"""Columns that may be long; they are compared by their digests, which the server makes of its own."""

_TEXTS = frozenset({"output"})
_SUMS = 1 << 128
_READY, _LEASED = 0, 1


class MovedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table.

    Attributes:
        key: columns that order it in SQLite, by an index.
        columns: what both have, by their names.
        bucket: of a row of ``columns``, where only PostgreSQL has one or counts it differently.
        partitioned_by: the column of ``columns`` whose id's time decides on the partition.
        only: condition of the rows that are moved; empty for all.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    bucket: Callable[[Row], int] | None = None
    partitioned_by: str | None = None
    only: str = ""

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of a moved row."""
        return self.columns if self.bucket is None else ("bucket", *self.columns)

    def moved(self, row: Row, began_ms: int) -> Row:
        """Return a row of ``columns`` as it is to stand in PostgreSQL, but for how its texts are held there.

        Args:
            began_ms: when moving began; what was leased is due then, since nobody sends it any more.
        """
        if self.name == "delivery" and row[_STATE] == _LEASED:
            row = (*row[:_STATE], _READY, began_ms, *row[_STATE + 2 :])
        return row if self.bucket is None else (self.bucket(row), *row)

    def partition_ids(self, rows: Sequence[Row]) -> list[bytes]:
        """Return the ids of moved rows whose partitions they need."""
        if self.partitioned_by is None:
            return []
        at = self.target_columns.index(self.partitioned_by)
        return [row[at] for row in rows]

    def shortened(self, row: Row) -> Row:
        """Return a moved row with digests instead of what is long."""
        return tuple(
            _digest(value) if name in _LONG else value for name, value in zip(self.target_columns, row, strict=True)
        )

    @property
    def source_sql(self) -> str:
        """Reads rows in the order of the key: the key's columns, then ``columns``."""
        return f"select {', '.join((*self.key, *self.columns))} from {self.name}"  # noqa: S608  names of ours

    @property
    def shortened_sql(self) -> str:
        """Reads moved rows in any order, with digests instead of what is long."""
        shown = ", ".join(map(_shortened, self.target_columns))
        return f"select {shown} from {self.name}"  # noqa: S608  names of ours


def _shortened(column: str) -> str:
    if column not in _LONG:
        return column
    return f"sha256(convert_to({column}, 'UTF8'))" if column in _TEXTS else f"sha256({column})"


def _digest(value: Any) -> bytes | None:
    if value is None:
        return None
    return sha256(held(value).encode() if isinstance(value, str) else value).digest()


def held_row(row: Row) -> Row:
    """Return a moved row with its texts as PostgreSQL holds them."""
    return tuple(map(held_value, row))


class Tally:
    """Counts rows and hashes them, in whatever order they come."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0
        self._encode = msgspec.msgpack.Encoder().encode

    def add(self, row: Row) -> None:
        """Count a shortened row."""
        self.rows += 1
        self._sum += int.from_bytes(blake2b(self._encode(row), digest_size=16).digest(), "big")

    @property
    def hash(self) -> str:
        """The sum of the rows' hashes, 32 hex digits: the same for the same rows, however often each is there."""
        return f"{self._sum % _SUMS:032x}"


def _first(row: Row) -> int:
    return bucket_of(row[0])


_DELIVERY = ("bucket", "id", "organisation_id", "event_id", "destination_id", "state")
_LAST = ("status_code", "duration_ms", "error")
_STATE = _DELIVERY.index("state")

TABLES = (
    MovedTable(
        name="catalog",
        key=("kind", "id"),
        columns=("kind", "id", "organisation_id", "name", "revision", "body"),
    ),
    MovedTable(
        name="quota",
        key=("organisation_id", "counter"),
        columns=("organisation_id", "counter", "used"),
    ),
    MovedTable(name="device", key=("key",), columns=("key", "organisation_id", "body")),
    MovedTable(
        name="subscription",
        key=("device_key", "channel_id"),
        columns=("device_key", "channel_id", "organisation_id"),
    ),
    MovedTable(
        name="event",
        key=("seq",),
        columns=(
            *("seq", "bucket", "id", "organisation_id", "dialect", "source", "type", "subject", "severity"),
            *("environment", "time_ms", "data", "extension", "incident_state", "replay_of", "unrouted"),
        ),
        partitioned_by="id",
    ),
    MovedTable(
        name="replayed",
        key=("event_id",),
        columns=("event_id", "by_event_id", "organisation_id"),
        bucket=_first,
        # Without an organisation it is of an event that is gone.
        only="organisation_id is not null",
    ),
    MovedTable(
        name="idempotency",
        key=("bucket", "digest"),
        columns=("bucket", "digest", "event_id", "fingerprint", "expires_ms"),
    ),
    MovedTable(
        name="incident",
        key=("id",),
        columns=(
            *("bucket", "id", "organisation_id", "environment", "channel", "state", "opened_ms", "updated_ms"),
            *("closed_ms", "body"),
        ),
    ),
    MovedTable(
        name="delivery",
        key=("id",),
        columns=(*_DELIVERY, "due_ms", "lease", "attempts", "retries_from", "lane", "place", *_LAST),
    ),
    MovedTable(
        name="delivery_history",
        key=("id",),
        columns=(*_DELIVERY, "settled_ms", "lease", "attempts", "lane", *_LAST),
        partitioned_by="id",
    ),
    MovedTable(
        name="attempt",
        key=("seq",),
        columns=("delivery_id", "seq", "number", "body"),
        bucket=_first,
        partitioned_by="delivery_id",
    ),
    MovedTable(
        name="posted",
        key=("destination_id", "lane"),
        columns=("destination_id", "lane", "organisation_id", "event_id", "remote_id"),
        bucket=lambda row: lane_bucket(row[1]),
    ),
    MovedTable(
        name="consumer_transaction",
        key=("event_id", "tx_key"),
        columns=(
            *("event_id", "tx_key", "organisation_id", "event_type", "environment", "state", "lease_until_ms"),
            *("body", "output"),
        ),
        bucket=_first,
    ),
    MovedTable(
        name="consumer_run",
        key=("organisation_id", "tx_key", "event_type", "environment", "first_id"),
        columns=("organisation_id", "event_type", "environment", "tx_key", "first_id", "end_id"),
    ),
    MovedTable(
        name="mailbox",
        key=("device_key", "delivery_id"),
        columns=("device_key", "delivery_id", "event_id", "expires_ms"),
    ),
    MovedTable(
        name="job",
        key=("id",),
        columns=("id", "organisation_id", "environment", "state", "revision", "ended_ms", "body"),
    ),
    MovedTable(
        name="audit",
        key=("id",),
        columns=("id", "organisation_id", "actor", "key_id", "action", "subject", "body"),
    ),
)
"""Every table that holds what a gateway keeps; ``lane`` follows from ``delivery``."""
