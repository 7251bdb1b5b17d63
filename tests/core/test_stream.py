"""What a reader is told of, where it begins, and what waits for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tocsin.core.destination import Filter
from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import DestinationId, EventId, OrganisationId
from tocsin.core.stream import Backlog, Gap, StreamFilter, StreamKind, Told, beginning

MINE = OrganisationId(b"m" * 16)
HERE = DestinationId(b"d" * 16)
THERE = DestinationId(b"t" * 16)
EVENT = Event(
    id=EventId(b"e" * 16),
    organisation_id=MINE,
    dialect=Dialect.PUSHGO,
    source="pushgo/channel/1",
    type="event.created",
    time_ms=0,
    data=b"{}",
    subject="s",
    severity=Severity.HIGH,
)


def wants(kind: StreamKind = StreamKind.EVENT, event: dict[str, Any] | None = None, **wanted: Any) -> bool:
    """Return whether a reader with these wishes is told of the event, changed so."""
    given = {"organisation_id": MINE, "environment": Environment.LIVE, **wanted}
    changed = msgspec.structs.replace(EVENT, **(event or {}))
    return StreamFilter(**given).wants(kind, changed, frozenset({HERE}))


@pytest.mark.parametrize(
    ("wanted", "yes"),
    [
        ({}, True),
        ({"organisation_id": OrganisationId(b"o" * 16)}, False),
        ({"environment": Environment.TEST}, False),
        ({"kinds": frozenset({StreamKind.EVENT})}, True),
        ({"kinds": frozenset({StreamKind.DELIVERY})}, False),
        ({"destination_id": HERE}, True),
        ({"destination_id": THERE}, False),
        ({"events": Filter(types=("event.*",), sources=("pushgo/*",))}, True),
        ({"events": Filter(types=("event.*",), sources=("buildable",))}, False),
        ({"events": Filter(subjects=("t",))}, False),
        ({"events": Filter(severities=(Severity.LOW,))}, False),
        ({"events": Filter(dialects=(Dialect.BUILDABLE,))}, False),
        ({"dialect": Dialect.PUSHGO, "source": "pushgo/channel/1"}, True),
        ({"dialect": Dialect.PROMPTJANG, "source": "pushgo/channel/1"}, False),
        ({"dialect": Dialect.PUSHGO, "source": "pushgo/channel/*"}, False),
    ],
    ids=str,
)
def test_a_reader_is_told_of_what_it_names(wanted: dict[str, Any], yes: bool) -> None:
    assert wants(**wanted) is yes


def test_deliveries_are_told_by_their_events() -> None:
    deliveries: dict[str, Any] = {"kinds": frozenset({StreamKind.DELIVERY})}
    assert wants(StreamKind.DELIVERY, **deliveries)
    assert not wants(StreamKind.DELIVERY, {"environment": Environment.TEST}, **deliveries)
    assert not wants(StreamKind.DELIVERY, {"type": "other"}, **deliveries, events=Filter(types=("event.*",)))


@pytest.mark.parametrize(
    ("after", "position", "gap"),
    [
        (None, 1000, None),
        (1000, 1000, None),
        (950, 950, None),
        (900, 900, None),
        (899, 900, Gap.TOO_FAR_BACK),
        (0, 900, Gap.TOO_FAR_BACK),
        (1001, 1000, Gap.HISTORY_CHANGED),
    ],
)
def test_a_stream_begins_where_its_reader_left_off_within_bounds(
    after: int | None, position: int, gap: Gap | None
) -> None:
    assert beginning(after, 1000, oldest=900) == (position, gap)


def told(size: int) -> Told:
    return Told(b"x" * size, 0)


def test_a_backlog_has_room_for_so_many_messages_and_bytes() -> None:
    backlog = Backlog(messages_max=3, bytes_max=10)
    assert [backlog.put(told(size)) for size in (4, 4, 3, 2)] == [True, True, False, True]
    assert not backlog.put(told(0)), "three wait"
    assert [len(each.text) for each in backlog.take(100)] == [4, 4, 2]
    assert len(backlog) == 0
    assert [backlog.put(told(5)), backlog.put(told(5)), backlog.put(told(1))] == [True, True, False]
    backlog.clear()
    assert (len(backlog), backlog.take(100)) == (0, [])
    assert backlog.put(told(10)), "what is forgotten takes no room"


def test_one_message_always_fits_and_is_always_taken() -> None:
    backlog = Backlog(messages_max=0, bytes_max=1)
    assert backlog.put(told(1000))
    assert not backlog.put(told(1))
    assert len(backlog.take(1)) == 1


def test_what_is_taken_at_once_is_bounded_and_in_order() -> None:
    backlog = Backlog(messages_max=9, bytes_max=100)
    for size in (3, 4, 5, 1):
        backlog.put(told(size))
    taken = [[len(each.text) for each in backlog.take(7)] for _ in range(3)]
    assert taken == [[3, 4], [5, 1], []]
