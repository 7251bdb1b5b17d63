"""The options that narrow the list of events, and a bulk replay by the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tocsin.cli.client.values import moment_text

F = TypeVar("F", bound=Callable[..., Any])

DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe", "promptjang", "cloudevents", "tocsin")
SEVERITIES = ("critical", "high", "normal", "low")
_MOMENTS = ("since", "until")
_FILTERS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--status",
        {"metavar": "STATUS", "help": "QUEUED, PROCESSING, RETRYING, DELIVERED, EXPIRED, RECEIVED or REPLAYED."},
    ),
    ("--type", {"metavar": "TYPE", "help": "Name of the event, as order.paid."}),
    ("--source", {"metavar": "SOURCE", "help": "Where it came from, as pushgo/channel/06AQ..."}),
    ("--endpoint", {"metavar": "ID", "help": "PromptJang endpoint that it was sent to."}),
    ("--dialect", {"type": click.Choice(DIALECTS), "help": "API by which it came."}),
    ("--destination", {"metavar": "ID", "help": "With a delivery to this destination."}),
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


def filter_query(filters: dict[str, Any]) -> dict[str, str]:
    """Return the options that were given by the names of the gateway's query.

    Raises:
        Failure: a moment is none.
    """
    return {
        _NAMES.get(name, name): moment_text(value) if name in _MOMENTS else value
        for name, value in filters.items()
        if value is not None
    }
