"""Live streams: what a reader wants to be told of, where it begins, and what waits for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from enum import StrEnum

import msgspec

from tocsin.core.destination import Filter, Matcher
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.spelling import Sought


class StreamKind(StrEnum):
    """What a stream tells of."""

    EVENT = "event"
    """An event was accepted."""
    DELIVERY = "delivery"
    """An attempt of a delivery has ended, or it was given up."""


class StreamFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What one reader wants to be told of.

    Attributes:
        events: which events, and deliveries of which events.
        dialect, source: exact values, which need not be safe from being read as patterns.
        text: stands in the event's data; see ``core.spelling``.
        destination_id: events with a delivery to it, and those deliveries; None is any.
        with_data: whether events are wanted with their data.
        matcher: made of ``events``.
    """

    organisation_id: OrganisationId
    environment: Environment
    kinds: frozenset[StreamKind] = frozenset(StreamKind)
    events: Filter = Filter()
    dialect: Dialect | None = None
    source: str | None = None
    text: Sought | None = None
    destination_id: DestinationId | None = None
    with_data: bool = False
    matcher: Matcher = Matcher(Filter())

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "matcher", Matcher(self.events))

    @property
    def wants_events(self) -> bool:
        """Whether events are told at all."""
        return StreamKind.EVENT in self.kinds

    @property
    def reads_data(self) -> bool:
        """Whether events are looked at with their data."""
        return self.with_data or self.text is not None

    def wants(self, kind: StreamKind, event: Event, destinations: Collection[DestinationId]) -> bool:
        """Return whether the reader is told of this, provided that the data hold the text.

        Args:
            event: the one that was accepted, or whose delivery it is.
            destinations: where the event's deliveries go, or this delivery.
        """
        return (
            kind in self.kinds
            and event.organisation_id == self.organisation_id
            and event.environment is self.environment
            and (self.dialect is None or event.dialect is self.dialect)
            and (self.source is None or event.source == self.source)
            and (self.destination_id is None or self.destination_id in destinations)
            and self.matcher.passes(
                dialect=event.dialect,
                source=event.source,
                type=event.type,
                subject=event.subject,
                severity=event.severity,
            )
        )


class Gap(StrEnum):
    """Why events are missing between where a reader left off and where it goes on."""

    TOO_FAR_BACK = "too_far_back"
    """It was away for more events than are gone through again."""
    HISTORY_CHANGED = "history_changed"
    """It was told of events that the store does not have: an older copy took its place."""


def beginning(after: int | None, newest: int, *, oldest: int) -> tuple[int, Gap | None]:
    """Return the position behind which a stream begins, and what is missing before it.

    Args:
        after: where the reader left off; None begins behind the newest.
        newest: the newest event's position.
        oldest: where a stream may begin at the earliest.
    """
    if after is None:
        return newest, None
    if after > newest:
        return newest, Gap.HISTORY_CHANGED
    if after < oldest:
        return oldest, Gap.TOO_FAR_BACK
    return after, None


class Told(msgspec.Struct, frozen=True):
    """One message to a reader.

    Attributes:
        position: the one behind which a reader of it goes on.
    """

    text: bytes
    position: int


class Backlog:
    """What waits for a reader, oldest first. One message always fits, however long it is."""

    def __init__(self, *, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._waiting: deque[Told] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._waiting)

    def put(self, told: Told) -> bool:
        """Add a message; return False where there is no room for it."""
        size = len(told.text)
        if self._waiting and (len(self._waiting) >= self._messages_max or self._bytes + size > self._bytes_max):
            return False
        self._waiting.append(told)
        self._bytes += size
        return True

    def take(self, bytes_max: int) -> list[Told]:
        """Take out the oldest messages: at least one if there is any, and no more than so many bytes of them."""
        taken: list[Told] = []
        room = bytes_max
        while self._waiting and (not taken or len(self._waiting[0].text) <= room):
            told = self._waiting.popleft()
            room -= len(told.text)
            self._bytes -= len(told.text)
            taken.append(told)
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._bytes = 0
