"""The list's parameters: each alone, each at its bounds, and those that exclude each other."""

from __future__ import annotations

import pytest

from tocsin.core.clock import TIME_MIN_MS, rfc3339
from tocsin.core.delivery import EventStatus
from tocsin.core.destination import Filter
from tocsin.core.errors import InvalidRequest
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.listing import EventListing, parse_cursor, parse_listing, show_cursor
from tocsin.dialects.promptjang.rendering import event_page
from tocsin.engine.rows import EventQuery

ORGANISATION = OrganisationId(b"o" * 16)
NOW_MS = 1_779_796_800_000
DAY_MS = 86_400_000
HEX = "000102030405060708090a0b0c0d0e0f"


def parsed(**query: str) -> EventListing:
    return parse_listing(
        query,
        organisation_id=ORGANISATION,
        environment=Environment.TEST,
        now_ms=NOW_MS,
        limits=PromptJangLimits(),
    )


def query_of(**query: str) -> EventQuery:
    found = parsed(**query).query
    assert found is not None
    return found


def test_nothing_asked_for_is_the_newest_fifty_of_the_keys_own_half() -> None:
    assert parsed() == EventListing(
        query=EventQuery(organisation_id=ORGANISATION, environment=Environment.TEST, with_data=False),
        limit=50,
        offset=0,
        cursor=None,
    )


def test_parameters_that_it_does_not_know_are_passed_over() -> None:
    assert parsed(page="2", sort="asc") == parsed()


def test_every_filter_reaches_the_query() -> None:
    found = query_of(
        endpoint_id=f"ep_{HEX}",
        status="DELIVERED",
        event_type="order.created",
        since="2026-05-26T12:00:00Z",
        until="2026-05-26T12:00:01+00:00",
        severity="high",
        subject="trace-*",
        q="ORD-1",
        destination=f"dst_{HEX}",
    )
    assert found == EventQuery(
        organisation_id=ORGANISATION,
        environment=Environment.TEST,
        dialect=Dialect.PROMPTJANG,
        source=f"promptjang/endpoint/ep_{HEX}",
        filter=Filter(types=("order.created",), subjects=("trace-*",), severities=(Severity.HIGH,)),
        text="ORD-1",
        status=EventStatus.DELIVERED,
        since_ms=1_779_796_800_000,
        until_ms=1_779_796_801_000,
        destination_id=DestinationId(bytes.fromhex(HEX)),
        with_data=False,
    )


@pytest.mark.parametrize("status", list(EventStatus))
def test_every_status_can_be_asked_for(status: EventStatus) -> None:
    assert query_of(status=status.value).status is status


@pytest.mark.parametrize(
    "query",
    [
        {"status": "FAILED"},
        {"endpoint_id": "ep_unknown"},
        {"endpoint_id": ""},
        {"endpoint_id": f"dst_{HEX}"},
        {"event_type": "a", "type": "b"},
        {"event_type": "a,b", "type": "[!ab]"},
    ],
)
def test_what_cannot_match_is_an_empty_list_and_no_error(query: dict[str, str]) -> None:
    assert parsed(**query).query is None


def test_an_endpoint_stands_beside_a_source_and_a_dialect() -> None:
    found = query_of(endpoint_id=f"ep_{HEX}", source="promptjang/*", dialect="promptjang,pushgo")
    assert (found.source, found.dialect) == (f"promptjang/endpoint/ep_{HEX}", Dialect.PROMPTJANG)
    assert found.filter == Filter(sources=("promptjang/*",), dialects=(Dialect.PROMPTJANG, Dialect.PUSHGO))


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ({"type": "order.*"}, ("order.*",)),
        ({"event_type": "order.[!c]*"}, ("order.[!c]*",)),
        ({"type": "a,b?,c"}, ("a", "b?", "c")),
        ({"event_type": "a", "type": "a"}, ("a",)),
        ({"event_type": "a*", "type": "a*"}, ("a*",)),
        ({"event_type": "a.b,c.d", "type": "a.*,x"}, ("a.b",)),
        ({"event_type": "a.*", "type": "a.b,c.d"}, ("a.b",)),
        ({"type": "[]]"}, ("[]]",)),
        ({"type": "[[]"}, ("[[]",)),
        ({"type": "[!]]x[a-c]"}, ("[!]]x[a-c]",)),
        ({"type": "a" * 400}, ("a" * 400,)),
    ],
)
def test_types_are_patterns_with_commas_between_them(query: dict[str, str], types: tuple[str, ...]) -> None:
    assert query_of(**query).filter.types == types


def test_sources_and_subjects_may_have_commas_of_their_own() -> None:
    found = query_of(source="urn:a,b/*", subject="x,?")
    assert (found.filter.sources, found.filter.subjects) == (("urn:a,b/*",), ("x,?",))


def test_dialects_and_severities_may_be_several() -> None:
    found = query_of(dialect="pushgo,pingpilot", severity="critical,high")
    assert found.filter.dialects == (Dialect.PUSHGO, Dialect.PINGPILOT)
    assert found.filter.severities == (Severity.CRITICAL, Severity.HIGH)


@pytest.mark.parametrize(
    ("query", "since_ms"),
    [
        ({"q": "a"}, NOW_MS - 7 * DAY_MS),
        ({"q": "a", "until": "2026-05-20T12:00:00Z"}, NOW_MS - 13 * DAY_MS),
        ({"q": "a", "until": "2026-06-26T12:00:00Z"}, NOW_MS - 7 * DAY_MS),
        # A week earlier there was no year to write it in.
        ({"q": "a", "until": "0001-01-01T00:00:00Z"}, TIME_MIN_MS),
    ],
)
def test_a_text_is_searched_for_in_the_latest_week_unless_said_otherwise(
    query: dict[str, str], since_ms: int
) -> None:
    found = parsed(**query)
    assert found.searched_since_ms == since_ms
    assert event_page(None, found)["since"] == rfc3339(since_ms)
    assert found.query is not None
    assert found.query.since_ms == since_ms


def test_a_text_is_searched_for_since_when_it_is_asked_for() -> None:
    found = parsed(q="a" * 200, since="2026-05-01T12:00:00Z")
    assert found.searched_since_ms is None
    assert found.query is not None
    assert (found.query.text, found.query.since_ms) == ("a" * 200, NOW_MS - 25 * DAY_MS)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": ""},
        {"limit": "ten"},
        {"offset": "-1"},
        {"offset": str(2**63)},
        {"offset": ""},
        {"status": "delivered"},
        {"status": ""},
        {"status": "LOST"},
        {"since": "yesterday"},
        {"since": ""},
        {"until": "2026-13-01T00:00:00Z"},
        {"until": "1700000000"},
        {"dialect": "smtp"},
        {"severity": "URGENT"},
        {"cursor": ""},
        {"cursor": "a"},
        {"cursor": "aaa/aaa"},
        {"cursor": "ééé"},
        {"cursor": "a" * 257},
        {"cursor": "AAAA"},
        {"cursor": "A" * 20},
        {"cursor": "A" * 21},
        {"cursor": "A" * 23},
        {"cursor": "A" * 22, "offset": "1"},
        {"q": ""},
        {"q": "a" * 201},
        {"type": ""},
        {"type": "a,,b"},
        {"type": "a" * 401},
        {"type": ",".join("a" * 21)},
        {"type": "order.[a"},
        {"type": "a,[]"},
        {"event_type": "[!]"},
        {"event_type": "a*", "type": "*b"},
        {"source": "[a]["},
        {"source": "", "status": "FAILED"},
        {"subject": "["},
        {"dialect": "pushgo,smtp"},
        {"dialect": "pushgo,"},
        {"severity": "high, low"},
        {"status": "FAILED", "limit": "0"},
    ],
)
def test_bad_values_are_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        parsed(**query)


@pytest.mark.parametrize(("limit", "offset"), [("1", "0"), ("100", str(2**63 - 1))])
def test_limit_and_offset_reach_their_bounds(limit: str, offset: str) -> None:
    listing = parsed(limit=limit, offset=offset)
    assert (listing.limit, listing.offset) == (int(limit), int(offset))


@pytest.mark.parametrize("cursor", [bytes(16), b"\xff\xfe" * 8, bytes(range(16))])
def test_a_cursor_comes_back_as_it_was_given(cursor: bytes) -> None:
    shown = show_cursor(cursor)
    assert shown is not None
    assert not set(shown) & set("+/=&? ")
    assert parse_cursor(shown) == cursor


def test_the_last_page_has_no_cursor() -> None:
    assert show_cursor(None) is None
    assert parse_cursor(None) is None
