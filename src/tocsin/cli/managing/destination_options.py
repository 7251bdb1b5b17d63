"""The options that say what a destination is, and the request body that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.watching.event_filters import DIALECTS, SEVERITIES

F = TypeVar("F", bound=Callable[..., Any])

INCIDENTS = ("edit", "post")
FORMATS = ("raw", "standard", "cloudevents", "cloudevents_binary")
_FILTER = {
    "dialect": "dialects",
    "source": "sources",
    "type": "types",
    "subject": "subjects",
    "severity": "severities",
    "where": "where",
}
_PLAIN = (
    "description",
    "format",
    "retry",
    "timeout_s",
    "rate_per_s",
    "concurrency",
    "ordered",
    "incidents",
    "enabled",
)
"""Options that stand in the body as they are."""

_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--webhook", {"metavar": "URL", "help": "Where a webhook sends to."}),
    ("--header", {"metavar": "NAME:VALUE", "multiple": True, "help": "Of a webhook's requests. May be repeated."}),
    ("--to", {"metavar": "ADDRESS", "multiple": True, "help": "Who gets an email. May be repeated."}),
    (
        "--chat-id",
        {"metavar": "ID", "help": "The chat that a Telegram bot writes to, or @NAME; its token in --body."},
    ),
    ("--service", {"metavar": "NAME", "help": "One of the services of Apprise that the operator has set up."}),
    ("--user-id", {"metavar": "ID", "help": "The user whom a Discord bot writes to; its token in --body."}),
    ("--description", {"metavar": "TEXT", "help": "For people."}),
    ("--dialect", {"type": click.Choice(DIALECTS), "multiple": True, "help": "Only events by this API."}),
    ("--source", {"metavar": "GLOB", "multiple": True, "help": "Only events from there."}),
    ("--type", {"metavar": "GLOB", "multiple": True, "help": "Only events of this name, as order.*."}),
    ("--subject", {"metavar": "GLOB", "multiple": True, "help": "Only events about this."}),
    ("--severity", {"type": click.Choice(SEVERITIES), "multiple": True, "help": "Only events so urgent."}),
    ("--where", {"metavar": "EXPRESSION", "help": "JMESPath that must hold of the event's data."}),
    ("--format", {"type": click.Choice(FORMATS), "help": "How an event is written.  [default: raw]"}),
    ("--retry", {"metavar": "PRESET", "help": "Schedule: default, promptjang or nativeframe."}),
    ("--timeout-s", {"type": float, "metavar": "S", "help": "How long an attempt may take."}),
    ("--rate-per-s", {"type": float, "metavar": "N", "help": "Attempts a second at most."}),
    ("--concurrency", {"type": int, "metavar": "N", "help": "Attempts at once at most."}),
    ("--ordered/--unordered", {"default": None, "help": "Events of one subject in order, one at a time, or not."}),
    (
        "--incidents",
        {"type": click.Choice(INCIDENTS), "help": "Edit the message of an incident, or post another one."},
    ),
    (
        "--quiet-hours",
        {"metavar": "HOURS", "help": "When only what is critical is sent, as '22:00-07:00 Europe/Berlin', or none."},
    ),
    ("--enabled/--disabled", {"default": None, "help": "Whether it gets events at all."}),
    (
        "--body",
        {"metavar": "JSON", "help": "The rest, secrets of an address above all; - is stdin, @FILE a file's content."},
    ),
)


def destination_options(function: F) -> F:
    """Add every option that says what a destination is; they arrive together as ``given``."""
    for flag, attributes in reversed(_OPTIONS):
        function = click.option(flag, **attributes)(function)
    return function


def body_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the request body that the options make; each counts before the same in ``--body``.

    Raises:
        Failure: ``--body`` is no JSON object, a header has no colon, or quiet hours have no end.
    """
    from tocsin.cli.client.values import json_or_stdin  # noqa: PLC0415  the help does without

    body: dict[str, Any] = {}
    if given["body"] is not None:
        body, _ = json_or_stdin(given["body"])
        if not isinstance(body, dict):
            raise Failure(USAGE, "--body must be a JSON object")
    body |= {name: given[name] for name in _PLAIN if given[name] is not None}
    if given["quiet_hours"] is not None:
        body["quiet_hours"] = _quiet_hours(given["quiet_hours"])
    _put(body, "filter", {_FILTER[name]: _listed(given[name]) for name in _FILTER if given[name]})
    address: dict[str, Any] = {"url": given["webhook"]} if given["webhook"] is not None else {}
    if given["header"]:
        address["headers"] = dict(_header(text) for text in given["header"])
    if given["to"]:
        address["to"] = list(given["to"])
    address |= {name: given[name] for name in ("chat_id", "user_id", "service") if given[name] is not None}
    _put(body, "address", address)
    return body


def _put(body: dict[str, Any], name: str, members: dict[str, Any]) -> None:
    if members:
        before = body.get(name)
        body[name] = {**before, **members} if isinstance(before, dict) else members


def _quiet_hours(text: str) -> dict[str, str] | None:
    """Return hours as the gateway takes them, which also judges them; None where there are to be none."""
    if text == "none":
        return None
    hours, _, timezone = text.strip().partition(" ")
    start, dash, end = hours.partition("-")
    if not dash:
        raise Failure(USAGE, f"--quiet-hours takes START-END TIMEZONE or none, and {text!r} is not that")
    return {"start": start, "end": end} | ({"timezone": timezone.strip()} if timezone else {})


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise Failure(USAGE, f"--header takes name:value, and {text!r} is not that")
    return name.strip(), value.strip()
