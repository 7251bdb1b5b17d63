"""``tocsin event``: an incident's life, as PushGo takes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tocsin.cli.client.secret_input import channel_password, password_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import moment_ms, pairs, text_or_stdin

F = TypeVar("F", bound=Callable[..., Any])

SEVERITIES = ("critical", "high", "normal", "low")

_EXAMPLES = """\b
Examples:
  tocsin event create --channel 06AQ... --title "Database lag" -m "Replica delay > 30s" --severity high
  tocsin event update --channel 06AQ... -m "Delay is falling" 0192...
  tocsin event close  --channel 06AQ... -m "Caught up" 0192...
"""
_PASSWORD_HINT = "The channel's password comes from TOCSIN_CHANNEL_PASSWORD, --password-file, or is asked for."  # noqa: S105


def _event_options(status: str) -> Callable[[F], F]:
    """Return a decorator that adds what all three have.

    Args:
        status: the default of ``--status``.
    """
    options = (
        click.option("--channel", required=True, metavar="ID", help="The channel's id."),
        password_option,
        click.option("-m", "--message", required=True, metavar="TEXT", help="What is the matter; - is stdin."),
        click.option("--severity", type=click.Choice(SEVERITIES), default="normal", show_default=True),
        click.option(
            "--status", default=status, show_default=True, help="A word of your own, 24 characters at most."
        ),
        click.option("--title", help="At most 256 characters."),
        click.option("--description", metavar="TEXT", help="More about it."),
        click.option(
            "--time", "event_time", metavar="TIME", help="When it happened: RFC 3339, or 5m.  [default: now]"
        ),
        click.option("--tag", "tags", multiple=True, help="May be repeated."),
        click.option("--image", "images", metavar="URL", multiple=True, help="May be repeated."),
        click.option(
            "--attr", "attrs", metavar="NAME=VALUE", multiple=True, help="null removes it. May be repeated."
        ),
        click.option("--metadata", metavar="NAME=VALUE", multiple=True, help="May be repeated."),
        click.option("--thing-id", metavar="ID", help="What it is about."),
        click.option(
            "--op-id", metavar="ID", help="A repeat with the same one changes nothing.  [default: made there]"
        ),
    )

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@click.group(epilog=_EXAMPLES)
def event() -> None:
    """Open, update and close an incident on a channel."""


@event.command(epilog=_PASSWORD_HINT + "\n\n" + _EXAMPLES)
@_event_options("ongoing")
@click.option("--started-at", metavar="TIME", help="When it began.  [default: its time]")
@uses_gateway
def create(session: Session, /, **options: Any) -> None:
    """Open an incident; prints its id as event_id."""
    _post(session, "create", options)


@event.command(epilog=_PASSWORD_HINT + "\n\n" + _EXAMPLES)
@click.argument("event_id")
@_event_options("ongoing")
@uses_gateway
def update(session: Session, /, **options: Any) -> None:
    """Tell news of an incident."""
    _post(session, "update", options)


@event.command(epilog=_PASSWORD_HINT + "\n\n" + _EXAMPLES)
@click.argument("event_id")
@_event_options("closed")
@click.option("--ended-at", metavar="TIME", help="When it ended.  [default: its time]")
@uses_gateway
def close(session: Session, /, **options: Any) -> None:
    """Close an incident."""
    _post(session, "close", options)


def _post(session: Session, action: str, options: dict[str, Any]) -> None:
    body = request_body(options)
    body["password"] = channel_password(options["password_file"])
    told = session.api.post(f"/event/{action}", body)["data"]
    session.out.record({name: told[name] for name in ("event_id", "op_id", "channel_id", "thing_id")})


def request_body(options: dict[str, Any]) -> dict[str, Any]:
    """Return a request without its password; what is not given is left out."""
    event_time = options["event_time"]
    body = {
        "channel_id": options["channel"],
        "event_id": options.get("event_id"),
        "title": options["title"],
        "description": options["description"],
        "status": options["status"],
        "message": text_or_stdin(options["message"]),
        "severity": options["severity"],
        "event_time": time.time_ns() // 1_000_000 if event_time is None else moment_ms(event_time),
        "tags": list(options["tags"]) or None,
        "images": list(options["images"]) or None,
        "attrs": pairs(options["attrs"], "--attr") or None,
        "metadata": pairs(options["metadata"], "--metadata") or None,
        "thing_id": options["thing_id"],
        "op_id": options["op_id"],
    }
    for name in ("started_at", "ended_at"):
        if options.get(name) is not None:
            body[name] = moment_ms(options[name])
    return {name: value for name, value in body.items() if value is not None}
