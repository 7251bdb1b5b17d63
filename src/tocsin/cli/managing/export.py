"""``tocsin export``: the history, or the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.watching.event_filters import event_filters, filter_query

_EXAMPLES = """\b
Examples:
  tocsin export --since 1d > history.ndjson
  tocsin export --status EXPIRED --since 7d | jq -r .event_type | sort | uniq -c
  tocsin export --what config > tocsin-config.json
"""


@click.command(epilog=_EXAMPLES)
@click.option("--what", type=click.Choice(["events", "config"]), default="events", show_default=True, help="Of what.")
@event_filters
@click.option("--short", is_flag=True, help="Events without payload, deliveries and attempts; much faster.")
@uses_gateway
def export(session: Session, /, what: str, short: bool, **filters: Any) -> None:
    """Print the history, an event a line with all about it, newest first; or the configuration without secrets."""
    from tocsin.cli.client.output import json_text  # noqa: PLC0415
    from tocsin.cli.managing.config_file import configuration  # noqa: PLC0415  the help does without

    query = filter_query(filters)
    if what == "config":
        if query:
            raise Failure(USAGE, "the configuration has nothing to narrow; filters are for events")
        session.out.line(json_text(configuration(session), indent=2))
        return
    for line in _history(session, query, short=short):
        session.out.line(line)


def _history(session: Session, query: dict[str, str], *, short: bool) -> Iterator[str]:
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without
    from tocsin.cli.client.output import json_text, one_line  # noqa: PLC0415
    from tocsin.cli.exits import NOT_FOUND  # noqa: PLC0415
    from tocsin.cli.watching.paging import listed  # noqa: PLC0415

    for row in listed(session, "/api/v1/events", "events", query):
        if short:
            yield json_text(row)
            continue
        answer = session.api.send("GET", f"/api/v1/events/{segment(row['id'])}")
        try:
            yield one_line(session.api.checked(answer).body)
        except Failure as failure:
            # Its time to be kept may have ended between the two requests.
            if failure.status != NOT_FOUND:
                raise
