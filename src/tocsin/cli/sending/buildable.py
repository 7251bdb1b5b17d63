"""``tocsin emit``, ``query`` and ``transact``: the transactional log, as Buildable takes it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import json_or_stdin, moment_ms, text_or_stdin
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

F = TypeVar("F", bound=Callable[..., Any])

_STATES = ("does-not-exist", "pending", "processing", "finished", "failed")
_PAGE_SIZE_MAX = 100
_EMIT_EXAMPLES = """\b
Examples:
  tocsin emit user.created '{"id": 7}'
  jq '.user' dump.json | tocsin emit user.created -
  tocsin emit user.created @user.json
"""
_QUERY_EXAMPLES = """\b
Examples:
  tocsin query user.created --tx-key mailer                      # what mailer has not started
  tocsin query user.created --tx-key mailer --state failed --since 1d --all
"""
_TRANSACT_EXAMPLES = """\b
Examples:
  tocsin transact init 0192... --tx-key mailer && send_mail && tocsin transact finish 0192... --tx-key mailer
  tocsin transact fail 0192... --tx-key mailer --result "mailbox full"
  tocsin transact update 0192... --tx-key mailer --event user.created --state processing
"""
_TX_KEY_HELP = "The consumer group."


def _tx_key(function: F) -> F:
    return click.option("--tx-key", required=True, metavar="TEXT", help=_TX_KEY_HELP)(function)


def post(session: Session, path: str, body: dict[str, Any] | bytes) -> Any:
    """Return what one of Buildable's routes answers; its key goes in a header of its own."""
    secret = {"X-Buildable-Secret": session.api.key} if session.api.key is not None else None
    return session.api.checked(session.api.send("POST", path, body, headers=secret)).json


@click.command(epilog=_EMIT_EXAMPLES)
@click.argument("event")
@click.argument("payload", metavar="[JSON|@FILE|-]", default="{}")
@uses_gateway
def emit(session: Session, event: str, payload: str) -> None:
    """Emit an event for consumers; prints its key.

    The payload is a JSON object, sent as it is written; @FILE stands for a file's content, - for stdin.
    """
    value, text = json_or_stdin(payload)
    if not isinstance(value, dict):
        raise Failure(USAGE, "the payload must be a JSON object")
    body = f'{{"event": {json.dumps(event)}, "payload": {text}}}'.encode()
    session.out.record({"key": post(session, "/emit", body)["key"]})


@click.command(epilog=_QUERY_EXAMPLES)
@click.argument("event")
@_tx_key
@click.option(
    "--state", type=click.Choice(_STATES), default=_STATES[0], show_default=True, help="Of the transaction."
)
@click.option("--since", metavar="TIME", help="1h, RFC 3339, or milliseconds.  [default: from the first on]")
@click.option("--platform", help="Of a connection's event.")
@click.option("--label", help="Of a connection's event.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--page-size", type=click.IntRange(1, _PAGE_SIZE_MAX), default=10, show_default=True)
@click.option("--all", "every", is_flag=True, help="All pages.")
@uses_gateway
def query(
    session: Session,
    event: str,
    tx_key: str,
    state: str,
    since: str | None,
    platform: str | None,
    label: str | None,
    page: int,
    page_size: int,
    every: bool,
) -> None:
    """List events by what a consumer group has made of them, oldest first."""
    body = {"eventName": event, "txKey": tx_key, "txState": state, "since": moment_ms(since) if since else 0}
    body |= {name: value for name, value in (("platform", platform), ("label", label)) if value is not None}

    def rows() -> Iterator[dict[str, Any]]:
        size = _PAGE_SIZE_MAX if every else page_size
        for number in itertools.count(page):
            told = post(session, "/query", {**body, "page": number, "pageSize": size})
            yield from map(_decoded, told["rows"])
            if number >= told["totalPages"]:
                return
            if not every:
                session.out.note(f"page {number} of {told['totalPages']}, {told['total']} rows; --all lists them all")
                return

    session.out.rows(rows(), ("key", "eventName", "createdAt", "state", "payload"))


@click.group(epilog=_TRANSACT_EXAMPLES)
def transact() -> None:
    """Start and end a consumer group's work on an event."""


@transact.command(epilog=_TRANSACT_EXAMPLES)
@click.argument("key")
@_tx_key
@uses_gateway
def init(session: Session, key: str, tx_key: str) -> None:
    """Start the work; of several that try, one succeeds, and the others end with status 8."""
    session.out.record(post(session, "/init", {"key": key, "txKey": tx_key}))


def _end(session: Session, key: str, tx_key: str, state: str, result: str | None) -> None:
    body = {"key": key, "txKey": tx_key, "state": state}
    if result is not None:
        body["output"] = text_or_stdin(result)
    session.out.record(post(session, "/transact", body))


@transact.command(epilog=_TRANSACT_EXAMPLES)
@click.argument("key")
@_tx_key
@click.option("--result", metavar="TEXT", help="Kept as its output; - is stdin.")
@uses_gateway
def finish(session: Session, key: str, tx_key: str, result: str | None) -> None:
    """End the work as finished."""
    _end(session, key, tx_key, "finished", result)


@transact.command(epilog=_TRANSACT_EXAMPLES)
@click.argument("key")
@_tx_key
@click.option("--result", metavar="TEXT", help="Kept as its output; - is stdin.")
@uses_gateway
def fail(session: Session, key: str, tx_key: str, result: str | None) -> None:
    """End the work as failed."""
    _end(session, key, tx_key, "failed", result)


@transact.command(epilog=_TRANSACT_EXAMPLES)
@click.argument("key")
@_tx_key
@click.option("--event", required=True, help="The event's name.")
@click.option("--state", required=True, type=click.Choice(_STATES[2:]), help="The state it moves to.")
@uses_gateway
def update(session: Session, key: str, tx_key: str, event: str, state: str) -> None:
    """Move a transaction to another state; prints the event."""
    body = {"key": key, "eventName": event, "txKey": tx_key, "txState": state}
    session.out.record(_decoded(post(session, "/update", body)))


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Return an event whose payload, query and headers are objects: /query has them as texts."""
    texts = {name: row[name] for name in ("payload", "query", "headers") if isinstance(row.get(name), str)}
    return row | {name: json.loads(text) for name, text in texts.items()}
