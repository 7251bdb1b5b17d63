"""``tocsin endpoints``: PromptJang's endpoints, to which ``tocsin ingest`` sends."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.asking import yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.managing.removing import remove

_PATH = "/api/v1/endpoints"
_EXAMPLES = """\b
Examples:
  tocsin endpoints create https://shop.example.com/hooks --type order.created
  tocsin endpoints list
"""


@click.group(epilog=_EXAMPLES)
def endpoints() -> None:
    """List, make and remove PromptJang's endpoints; tocsin destinations does the rest with them."""


@endpoints.command("list", epilog="\b\nExamples:\n  tocsin endpoints list\n")
@uses_gateway
def list_endpoints(session: Session) -> None:
    """List the endpoints."""
    session.out.rows(session.api.get(_PATH)["endpoints"])


@endpoints.command(epilog="\b\nExamples:\n  tocsin endpoints create https://shop.example.com/hooks\n")
@click.argument("url")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only events of this name. May be repeated.")
@click.option("--description", metavar="TEXT", help="For people.")
@uses_gateway
def create(session: Session, url: str, types: tuple[str, ...], description: str | None) -> None:
    """Make an endpoint; prints it with its signing secret, which is shown only now."""
    body: dict[str, Any] = {"url": url}
    if types:
        body["event_types"] = list(types)
    if description is not None:
        body["description"] = description
    session.out.record(session.api.post(_PATH, body))
    session.out.note("the secret is shown only now; keep it")


@endpoints.command(epilog="\b\nExamples:\n  tocsin endpoints delete ep_0192... --yes\n")
@click.argument("endpoint_id")
@yes_option
@uses_gateway
def delete(session: Session, endpoint_id: str, yes: bool) -> None:
    """Remove an endpoint, giving up what waits for it."""
    deed = f"the endpoint {endpoint_id} would be removed, with all that waits for it"
    remove(session, _PATH, endpoint_id, deed, yes=yes)
