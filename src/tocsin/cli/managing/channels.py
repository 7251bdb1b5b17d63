"""``tocsin channels``: PushGo's channels."""

from __future__ import annotations

import click

from tocsin.cli.client.asking import yes_option
from tocsin.cli.client.secret_input import channel_password, password_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.managing.removing import remove
from tocsin.cli.watching.paging import listed, paging, paging_options

_PATH = "/api/v1/channels"
_EXAMPLES = """\b
Examples:
  tocsin channels create ops
  tocsin channels list
"""


@click.group(epilog=_EXAMPLES)
def channels() -> None:
    """List, make and remove the channels of incidents."""


@channels.command("list", epilog="\b\nExamples:\n  tocsin channels list\n")
@paging_options
@uses_gateway
def list_channels(session: Session, limit: int, cursor: str | None, everything: bool) -> None:
    """List the channels, oldest first."""
    wanted = paging(limit, cursor, everything=everything)
    session.out.rows(listed(session, _PATH, "channels", None, wanted))


@channels.command(epilog="\b\nExamples:\n  tocsin channels create ops --password-file /run/secrets/ops\n")
@click.argument("name")
@password_option
@uses_gateway
def create(session: Session, name: str, password_file: str | None) -> None:
    """Make a channel with a password."""
    session.out.record(session.api.post(_PATH, {"name": name, "password": channel_password(password_file)}))


@channels.command(epilog="\b\nExamples:\n  tocsin channels delete 06AQ... --yes\n")
@click.argument("channel_id")
@yes_option
@uses_gateway
def delete(session: Session, channel_id: str, yes: bool) -> None:
    """Remove a channel; its past events and incidents stay."""
    remove(session, _PATH, channel_id, f"the channel {channel_id} would be removed", yes=yes)
