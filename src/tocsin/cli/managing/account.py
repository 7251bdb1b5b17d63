"""``tocsin account``: how people are told of categorised events."""

from __future__ import annotations

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.managing.telegram_link import connect, wait_option

_PATH = "/api/v1/account"
_EXAMPLES = """\b
Examples:
  tocsin account show
  tocsin account replace '{"email": {"enabled": true, "to": ["ops@example.com"]}}'
"""
_REPLACE_EXAMPLES = """\b
Examples:
  tocsin account replace '{"email": {"enabled": true, "to": ["ops@example.com"]}}'
  tocsin account replace @account.json     # where a bot's token is inside
"""


@click.group(epilog=_EXAMPLES)
def account() -> None:
    """Say how the people of the organisation are told of categorised events."""


@account.command(epilog="\b\nExamples:\n  tocsin account show --output json\n")
@uses_gateway
def show(session: Session) -> None:
    """Show the account; its secrets are masked."""
    session.out.record(session.api.get(_PATH))


@account.command(epilog=_REPLACE_EXAMPLES)
@click.argument("document", metavar="JSON|@FILE|-")
@uses_gateway
def replace(session: Session, document: str) -> None:
    """Replace the whole account by a JSON object; @FILE stands for a file's content, - for stdin."""
    from tocsin.cli.client.values import json_or_stdin  # noqa: PLC0415  the help does without

    body, _ = json_or_stdin(document)
    if not isinstance(body, dict):
        raise Failure(USAGE, "an account is a JSON object")
    session.out.record(session.api.call("PUT", _PATH, body))


@account.command("telegram-link", epilog="\b\nExamples:\n  tocsin account telegram-link\n")
@wait_option
@uses_gateway
def telegram_link(session: Session, no_wait: bool) -> None:
    """Make a link by which a person connects their Telegram with the account's bot, and wait for them."""
    connect(session, f"{_PATH}/telegram/link", no_wait=no_wait)


@account.command(epilog="\b\nExamples:\n  tocsin account usage\n")
@uses_gateway
def usage(session: Session) -> None:
    """Show what is used of the plan in this month."""
    session.out.record(session.api.get("/api/v1/usage"))
