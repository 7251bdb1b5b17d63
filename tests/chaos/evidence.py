"""What is known after a chaos run: what clients were told, what the receiver saw, what the store holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

DELIVERED = 3
"""The number by which the store calls it."""


@dataclass(slots=True)
class Posting:
    """One event that a client wants stored once, however often it has to ask.

    Attributes:
        name: in the event's data, so that it is known again wherever it turns up.
        paths: of the receiver's, where it is to arrive.
        lane: within which it is to come in order, by its place; None where nothing must come before it.
        ids: by which it was acknowledged, in hex; empty where the dialect tells none.
        is_acknowledged: whether a client was told that it is stored.
        tries: requests until then.
        waited_s: how long its client waited for that.
    """

    name: str
    paths: frozenset[str]
    lane: str | None = None
    place: int = 0
    ids: set[str] = field(default_factory=set)
    is_acknowledged: bool = False
    tries: int = 0
    waited_s: float = 0.0


@dataclass(slots=True)
class Arrival:
    """A request that reached the receiver.

    Attributes:
        began: when it had come whole, by the receiver's own count of all it saw and did.
        answered: when it was answered 2xx, by the same count; None where it was not.
    """

    path: str
    name: str
    event_id: str
    began: int
    answered: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A recorded attempt; 0 is the number of those that came too late to count."""

    number: int
    is_success: bool


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as it stands in the store, with its attempts in the order in which they were recorded."""

    path: str
    state: int
    attempts_made: int
    attempts: tuple[Attempt, ...]

    @property
    def is_late(self) -> bool:
        """Whether an attempt of it came too late to count."""
        return any(each.number == 0 for each in self.attempts)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it stands in the store; ``seq`` is its position."""

    name: str
    event_id: str
    seq: int
    deliveries: tuple[StoredDelivery, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """What a dispatcher had when it was stopped for longer than its leases.

    Attributes:
        leased: deliveries that were leased then, by it and by others: the event's id, and the path.
        under_way: of these, what the stopped one had sent, and the receiver was about to answer.
    """

    leased: frozenset[tuple[str, str]]
    under_way: frozenset[tuple[str, str]]


@dataclass(slots=True)
class Evidence:
    """All of it.

    Attributes:
        refusals: answers that clients should not get, in words.
        unavailable: how often a client was told 503 with ``Retry-After``.
        statuses: with which the processes ended when they were asked to.
        faults: what struck, by kind.
        log_faults: what the processes logged as faults of their own.
        took_s: from the first request to the last delivery.
    """

    postings: list[Posting] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    stored: list[StoredEvent] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    unavailable: int = 0
    statuses: list[int] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    log_faults: list[str] = field(default_factory=list)
    took_s: float = 0.0
