"""``tocsin events``: the history of all dialects."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.asking import ask, yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import number_of
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.watching.event_filters import event_filters, filter_query
from tocsin.cli.watching.paging import listed, paging, paging_options

_COLUMNS = ("created_at", "id", "event_type", "status", "endpoint_id")
_ATTEMPT_COLUMNS = ("started_at", "destination", "number", "status_code", "duration_ms", "error", "delivery")
_EXAMPLES = """\b
Examples:
  tocsin events list --status EXPIRED --since 1h
  tocsin events get evt_0192...
  tocsin events replay --type order.paid --since 1h --dry-run
"""
_LIST_EXAMPLES = """\b
Examples:
  tocsin events list --since 1h --dialect buildable
  tocsin events list --status EXPIRED --all --output ndjson | jq -r .id
  tocsin events list --limit 500 --until 2026-03-06T10:30:00Z
"""
_REPLAY_EXAMPLES = """\b
Examples:
  tocsin events replay evt_0192...
  tocsin events replay --type order.paid --since 1h --dry-run
  tocsin events replay --status EXPIRED --since 1d --yes --no-wait
"""


@click.group(epilog=_EXAMPLES)
def events() -> None:
    """List events of all dialects, look at one, and send past ones again."""


@events.command("list", epilog=_LIST_EXAMPLES)
@event_filters
@paging_options
@uses_gateway
def list_events(session: Session, /, limit: int, cursor: str | None, everything: bool, **filters: Any) -> None:
    """List events, newest first."""
    wanted = paging(limit, cursor, everything=everything)
    session.out.rows(listed(session, "/api/v1/events", "events", filter_query(session, filters), wanted), _COLUMNS)


@events.command(epilog="\b\nExamples:\n  tocsin events get evt_0192... --output json | jq .payload\n")
@click.argument("event_id")
@uses_gateway
def get(session: Session, event_id: str) -> None:
    """Show one event with its payload, its deliveries and their attempts."""
    session.out.record(event_of(session, event_id))


@events.command(epilog="\b\nExamples:\n  tocsin events attempts evt_0192...\n")
@click.argument("event_id")
@uses_gateway
def attempts(session: Session, event_id: str) -> None:
    """List every attempt to deliver an event: what went out, what came back, how long it took."""
    event = event_of(session, event_id)
    rows = [
        {"delivery": delivery["id"], "destination": delivery["destination"]["name"], **attempt}
        for delivery in listed(session, "/api/v1/deliveries", "deliveries", {"event": event["id"]})
        for attempt in listed(session, f"/api/v1/deliveries/{delivery['id']}", "attempts")
    ]
    rows.sort(key=lambda row: str(row["started_at"]))
    session.out.rows(rows, _ATTEMPT_COLUMNS)


@events.command(epilog=_REPLAY_EXAMPLES)
@click.argument("event_id", required=False)
@event_filters
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the job; tocsin jobs get shows it.")
@yes_option
@uses_gateway
def replay(
    session: Session, /, event_id: str | None, dry_run: bool, no_wait: bool, yes: bool, **filters: Any
) -> None:
    """Send one past event again, or all that the filters name.

    Each becomes a new event that goes to the destinations of today. Many are a job of the gateway, which goes on
    without this command; Ctrl-C asks whether it is to be cancelled.
    """
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without
    from tocsin.cli.watching.job_following import follow, verdict  # noqa: PLC0415

    wanted = filter_query(session, filters)
    if (event_id is None) is not bool(wanted):
        raise Failure(USAGE, "replay takes either an event's id or filters; --since 1h alone means all of an hour")
    if event_id is not None:
        if dry_run:
            event_id = event_of(session, event_id)["id"]
            session.out.record({"count": 1, "exact": True})
            return
        session.out.record(session.api.post(f"/api/v1/events/{segment(event_id)}/replay"))
        return
    count = session.api.post("/api/v1/replays", {"filter": wanted, "dry_run": True})
    would_be = f"{number_of(count['count'], exact=count['exact'])} events would be replayed"
    if dry_run or (count["exact"] and not count["count"]):
        session.out.record(count)
        if not count["exact"]:
            session.out.note(would_be)
        return
    ask(would_be, yes=yes)
    job = session.api.post("/api/v1/replays", {"filter": wanted})
    if not no_wait:
        job = follow(session, job)
    session.out.record(job)
    verdict([job])


def event_of(session: Session, event_id: str) -> dict[str, Any]:
    """Return an event with everything about it.

    Raises:
        Failure: there is none.
    """
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without

    found: dict[str, Any] = session.api.get(f"/api/v1/events/{segment(event_id)}")
    return found
