"""``tocsin service-keys``: the keys that sign Native Frame's tokens."""

from __future__ import annotations

import json
from typing import IO, Any

import click

from tocsin.cli.client.asking import yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.managing.removing import remove
from tocsin.cli.watching.paging import listed, paging, paging_options

_PATH = "/api/v1/service-keys"
_ALGORITHMS = ("EdDSA", "ES256", "RS256")
_EXAMPLES = """\b
Examples:
  tocsin service-keys create --algorithm ES256
  tocsin service-keys list
"""


@click.group("service-keys", epilog=_EXAMPLES)
def service_keys() -> None:
    """List, make and revoke the keys that sign Native Frame's tokens."""


@service_keys.command("list", epilog="\b\nExamples:\n  tocsin service-keys list\n")
@paging_options
@uses_gateway
def list_service_keys(session: Session, limit: int, cursor: str | None, everything: bool) -> None:
    """List the service keys, oldest first; the newest of all signs."""
    wanted = paging(limit, cursor, everything=everything)
    session.out.rows(listed(session, _PATH, "service_keys", None, wanted))


@service_keys.command(epilog="\b\nExamples:\n  tocsin service-keys create --algorithm RS256 --jwk-file pair.jwk\n")
@click.option("--algorithm", type=click.Choice(_ALGORITHMS), help="What it signs with.  [default: EdDSA]")
@click.option(
    "--jwk-file",
    type=click.File("r", encoding="utf-8"),
    help="File with a key pair of your own, as a private JWK; - is stdin.  [default: one is made]",
)
@uses_gateway
def create(session: Session, algorithm: str | None, jwk_file: IO[str] | None) -> None:
    """Make a service key, or take one that you have; it signs from now on."""
    body: dict[str, Any] = {} if algorithm is None else {"algorithm": algorithm}
    if jwk_file is not None:
        body["private_jwk"] = _jwk(jwk_file)
    session.out.record(session.api.post(_PATH, body))


@service_keys.command(epilog="\b\nExamples:\n  tocsin service-keys revoke 0192... --yes\n")
@click.argument("kid")
@yes_option
@uses_gateway
def revoke(session: Session, kid: str, yes: bool) -> None:
    """Revoke a service key: tokens that it signed are good for nothing any more, at once."""
    remove(session, _PATH, kid, f"the service key {kid} and all its tokens would be revoked", yes=yes, done="revoked")


def _jwk(file: IO[str]) -> Any:
    try:
        return json.load(file)
    except ValueError:
        # What it holds may be a secret, and is not told.
        raise Failure(USAGE, "--jwk-file holds no JWK: it is not JSON") from None
