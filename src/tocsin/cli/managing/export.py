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
_NOT_IN_IT = (
    "not in it: ids, signing secrets, secrets of addresses, channels' passwords, API keys, the plan, "
    "and the gateway's own settings"
)


@click.command(epilog=_EXAMPLES)
@click.option("--what", type=click.Choice(["events", "config"]), default="events", show_default=True, help="Of what.")
@event_filters
@click.option("--short", is_flag=True, help="Events without payload, deliveries and attempts; much faster.")
@uses_gateway
def export(session: Session, /, what: str, short: bool, **filters: Any) -> None:
    """Print the history, an event a line with all about it, newest first; or the configuration without secrets.

    The configuration is destinations, PromptJang's endpoints, Native Frame's webhooks, the account, categories and
    the names of channels. Not in it are ids, signing secrets and those of addresses, channels' passwords, API keys,
    the plan, and the gateway's own settings; tocsin backup copies all but the last.

    A URL is not kept as a secret: one that may hold one in its query or as a user is told of on stderr.
    """
    from tocsin.cli.client.output import json_text  # noqa: PLC0415
    from tocsin.cli.managing.config_file import configuration, left_out, urls_with_secrets  # noqa: PLC0415  the help does without

    if what == "config":
        if any(value is not None for value in filters.values()):
            raise Failure(USAGE, "the configuration has nothing to narrow; filters are for events")
        document = configuration(session)
        session.out.line(json_text(document, indent=2))
        session.out.note(_NOT_IN_IT)
        for name in left_out(session, document):
            session.out.warn(f"the webhook {name} is not in it: its filter was changed, and it belongs to no project")
        for name in urls_with_secrets(document):
            session.out.warn(
                f"the URL of {name} has a query or a user in it, and may hold a secret: look before it is shared"
            )
        return
    for line in _history(session, filter_query(session, filters), short=short):
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
