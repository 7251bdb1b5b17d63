"""Routing: each kind of filter, and that looking sources up changes nothing but the time it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.destination import Destination, Filter, Transport, matches
from tocsin.core.event import Dialect, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId
from tocsin.pipeline.router import RoutingTable

EVENT: dict[str, Any] = {
    "dialect": Dialect.PUSHGO,
    "source": "pushgo/channel/1",
    "type": "disk.full",
    "subject": "host-7",
    "severity": Severity.HIGH,
}


def destination(number: int = 0, wanted: Filter | None = None, **fields: Any) -> Destination:
    given: dict[str, Any] = {
        "id": DestinationId(number.to_bytes(16, "big")),
        "organisation_id": DEFAULT_ORGANISATION,
        "name": str(number),
        "transport": Transport.WEBHOOK,
        "created_ms": 0,
        "updated_ms": 0,
        "address": {"url": "https://receiver.example/"},
        "filter": Filter() if wanted is None else wanted,
    }
    return Destination(**(given | fields))


def passes(wanted: Filter, **event: Any) -> bool:
    return len(RoutingTable([destination(1, wanted)]).route(**(EVENT | event))) == 1


@pytest.mark.parametrize(
    ("wanted", "event"),
    [
        (Filter(dialects=(Dialect.PUSHGO,)), {"dialect": Dialect.PINGPILOT}),
        (Filter(dialects=(Dialect.BUILDABLE, Dialect.PUSHGO)), {"dialect": Dialect.TOCSIN}),
        (Filter(severities=(Severity.HIGH, Severity.CRITICAL)), {"severity": Severity.LOW}),
        (Filter(severities=(Severity.HIGH,)), {"severity": None}),
        (Filter(sources=("pushgo/channel/1",)), {"source": "pushgo/channel/12"}),
        (Filter(sources=("other", "pushgo/*")), {"source": "promptjang/endpoint/1"}),
        (Filter(sources=("pushgo/channel/?",)), {"source": "pushgo/channel/12"}),
        (Filter(sources=("pushgo/channel/[0-3]",)), {"source": "pushgo/channel/4"}),
        (Filter(types=("disk.full",)), {"type": "disk.fuller"}),
        (Filter(types=("disk.*",)), {"type": "DISK.full"}),
        (Filter(types=("*.full",)), {"type": "disk.full.again"}),
        (Filter(types=("[!a-c]isk.full",)), {"type": "bisk.full"}),
        (Filter(subjects=("host-7",)), {"subject": "host-70"}),
        (Filter(subjects=("*",)), {"subject": None}),
        (Filter(sources=("pushgo/*",), types=("disk.*",), severities=(Severity.HIGH,)), {"type": "cpu.hot"}),
    ],
)
def test_a_filter_lets_through_what_it_names_and_nothing_else(wanted: Filter, event: dict[str, Any]) -> None:
    assert passes(wanted)
    assert not passes(wanted, **event)


def test_a_filter_without_lists_restricts_nothing() -> None:
    assert passes(Filter(), subject=None, severity=None, type="", source="")


def test_a_glob_spans_lines_and_takes_what_is_no_pattern_by_the_letter() -> None:
    assert passes(Filter(types=("a*z",)), type="a\nz")
    assert passes(Filter(types=("a[",)), type="a[")
    assert passes(Filter(sources=("a[",)), source="a[")
    assert passes(Filter(types=("a.b+(c)",)), type="a.b+(c)")


def test_disabled_and_unconfigured_destinations_get_nothing() -> None:
    table = RoutingTable([destination(1, enabled=False), destination(2, address={}), destination(3)])
    assert [each.name for each in table.route(**EVENT)] == ["3"]


def test_a_paused_destination_still_gets_what_it_will_send_later() -> None:
    assert len(RoutingTable([destination(1, paused=True)]).route(**EVENT)) == 1


def test_a_source_that_is_named_twice_brings_an_event_once() -> None:
    same = EVENT["source"]
    for sources in ((same, same), (same, "pushgo/*"), ("pushgo/*", "*")):
        assert len(RoutingTable([destination(1, Filter(sources=sources))]).route(**EVENT)) == 1


_SOURCES = st.sampled_from(["a", "b", "a/1", "a/2", "[", "a*"])
_PATTERNS = st.sampled_from(["a", "b", "a/1", "a/2", "a/*", "?", "*", "[", "[ab]", "[!a]", "a*", "c"])
_FILTERS = st.builds(
    Filter,
    dialects=st.lists(st.sampled_from([Dialect.PUSHGO, Dialect.TOCSIN]), max_size=2).map(tuple),
    sources=st.lists(_PATTERNS, max_size=3).map(tuple),
    types=st.lists(_PATTERNS, max_size=2).map(tuple),
    subjects=st.lists(_PATTERNS, max_size=2).map(tuple),
    severities=st.lists(st.sampled_from(Severity), max_size=2).map(tuple),
)


@given(
    filters=st.lists(st.tuples(_FILTERS, st.booleans(), st.booleans()), max_size=8),
    event=st.fixed_dictionaries(
        {
            "dialect": st.sampled_from([Dialect.PUSHGO, Dialect.TOCSIN]),
            "source": _SOURCES,
            "type": _SOURCES,
            "subject": st.none() | _SOURCES,
            "severity": st.none() | st.sampled_from(Severity),
        }
    ),
)
def test_the_index_of_sources_finds_what_asking_every_destination_finds(
    filters: list[tuple[Filter, bool, bool]], event: dict[str, Any]
) -> None:
    destinations = [
        destination(number, wanted, enabled=enabled, address={"url": "x"} if configured else {})
        for number, (wanted, enabled, configured) in enumerate(filters)
    ]
    expected = [each.name for each in destinations if each.enabled and each.address and matches(each.filter, **event)]
    found = [each.name for each in RoutingTable(reversed(destinations)).route(**event)]
    assert sorted(found) == sorted(expected)
