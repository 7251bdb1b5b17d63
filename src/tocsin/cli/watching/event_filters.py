"""The options that narrow the list of events, and a bulk replay by the same words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from tocsin.cli.client.session import Session
from tocsin.cli.client.values import moment_text

F = TypeVar("F", bound=Callable[..., Any])

DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe", "promptjang", "cloudevents", "tocsin")
SEVERITIES = ("critical", "high", "normal", "low")
STATUSES = ("queued", "processing", "retrying", "delivered", "failed", "expired", "received", "replayed")
_GIVEN_UP = "expired"
_MOMENTS = ("since", "until")
_FILTERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--status",
        {
            "type": click.Choice(STATUSES, case_sensitive=False),
            "help": "What became of it; failed and expired are the same, received is without a delivery.",
        },
    ),
    ("--type", {"metavar": "GLOB", "help": "Name of the event, as order.*; several with commas between them."}),
    ("--source", {"metavar": "GLOB", "help": "Where it came from, as pushgo/channel/*."}),
    ("--subject", {"metavar": "GLOB", "help": "What it is about."}),
    ("--endpoint", {"metavar": "ID", "help": "PromptJang endpoint that it was sent to."}),
    ("--dialect", {"type": click.Choice(DIALECTS), "help": "API by which it came."}),
    ("--destination", {"metavar": "NAME|ID", "help": "With a delivery to this destination."}),
    ("--severity", {"type": click.Choice(SEVERITIES), "help": "How urgent."}),
    ("--search", {"metavar": "TEXT", "help": "Text in the payload."}),
    ("--since", {"metavar": "WHEN", "help": "Not before: 1h is an hour ago; or an RFC 3339 time."}),
    ("--until", {"metavar": "WHEN", "help": "Not after."}),
)
_NAMES = {"endpoint": "endpoint_id", "search": "q"}


def event_filters(function: F) -> F:
    """Add every option that narrows the list of events; they arrive together as ``filters``."""
    for flag, attributes in reversed(_FILTERS):
        function = click.option(flag, **attributes)(function)
    return function


def filter_query(session: Session, filters: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that were given by the names and the words of the gateway's query.

    Raises:
        Failure: a moment is none, or there is no destination of this name.
    """
    query = {
        _NAMES.get(name, name): moment_text(value) if name in _MOMENTS else value
        for name, value in filters.items()
        if value is not None
    }
    if "status" in query:
        # Deliveries have failed where events, in PromptJang's words, are EXPIRED.
        query["status"] = query["status"].replace("failed", _GIVEN_UP).upper()
    if "destination" in query:
        from tocsin.cli.managing.destination_lookup import id_of  # noqa: PLC0415  the help does without

        query["destination"] = id_of(session, query["destination"])
    return query
