"""``tocsin keys``: API keys."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.asking import yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.managing.removing import remove

_PATH = "/api/v1/keys"
_SCOPES = ("ingest", "read", "manage")
_EXAMPLES = """\b
Examples:
  tocsin keys create shop --scope ingest
  tocsin keys list
"""


@click.group(epilog=_EXAMPLES)
def keys() -> None:
    """List, make and revoke API keys."""


@keys.command("list", epilog="\b\nExamples:\n  tocsin keys list\n")
@uses_gateway
def list_keys(session: Session) -> None:
    """List the keys; of each only its beginning is known."""
    told = session.api.get(_PATH)
    session.out.rows(told["keys"] if isinstance(told, dict) else told)


@keys.command(epilog="\b\nExamples:\n  tocsin keys create shop --scope ingest --environment test\n")
@click.argument("name")
@click.option("--environment", type=click.Choice(["live", "test"]), help="Half it is for.  [default: live]")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(_SCOPES),
    multiple=True,
    help="What it may do. May be repeated.  [default: all]",
)
@uses_gateway
def create(session: Session, name: str, environment: str | None, scopes: tuple[str, ...]) -> None:
    """Make a key; it is shown only now."""
    body: dict[str, Any] = {"name": name}
    if environment is not None:
        body["environment"] = environment
    if scopes:
        body["scopes"] = list(scopes)
    session.out.record(session.api.post(_PATH, body))
    session.out.note("the key is shown only now; keep it")


@keys.command(epilog="\b\nExamples:\n  tocsin keys revoke key_0192... --yes\n")
@click.argument("key_id")
@yes_option
@uses_gateway
def revoke(session: Session, key_id: str, yes: bool) -> None:
    """Revoke a key: whoever has it is let in no more, at once."""
    remove(session, _PATH, key_id, f"the key {key_id} would be revoked", yes=yes, done="revoked")
