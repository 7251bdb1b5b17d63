"""What a store is, and why it cannot be opened."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.identifiers import DestinationId


class EngineRefused(Exception):
    """The store cannot be opened; the text says why and what to do."""


class Durability(StrEnum):
    """What a returned write has survived."""

    FSYNC = "fsync"
    REPLICATED = "replicated"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What the store is and promises."""

    engine: str
    version: str
    durability: Durability


class Hint(StrEnum):
    """What there may be something new of."""

    WORK = "work"
    """Deliveries to be claimed."""
    CATALOG = "catalog"
    """Entities of the catalog."""


class QueueDepth(msgspec.Struct, frozen=True, kw_only=True):
    """How much is live for one destination.

    Attributes:
        due: may be sent now: ready, and its time has come, or its lease ran out.
        scheduled: ready, and its time is still to come.
        leased: a dispatcher has it.
        blocked: waits behind another of its lane.
        oldest_due_ms: since when the one that is due for longest has been; None where none is due.
    """

    destination_id: DestinationId
    due: int = 0
    scheduled: int = 0
    leased: int = 0
    blocked: int = 0
    oldest_due_ms: int | None = None


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """How much stands in the store.

    Attributes:
        queues: of each destination for which something is live, in no order.
        mailbox_items: that wait in devices' mailboxes.
        file_bytes: size on the disk, by what it is, ``database`` or ``log``; empty where the store is no file.
        free_bytes: room left on that disk; None where that is not known.
    """

    queues: tuple[QueueDepth, ...]
    mailbox_items: int
    file_bytes: dict[str, int] = {}
    free_bytes: int | None = None
