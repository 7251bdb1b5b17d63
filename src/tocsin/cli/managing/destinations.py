"""``tocsin destinations``: where events go."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.asking import ask, yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.managing.destination_options import body_of, destination_options
from tocsin.cli.managing.telegram_link import connect, wait_option
from tocsin.cli.watching.paging import listed, paging, paging_options

_COLUMNS = ("id", "name", "transport", "state", "origin", "address")
_TRANSPORTS = ("webhook", "discord", "telegram", "email", "mailbox", "apprise")
_EXAMPLES = """\b
Examples:
  tocsin destinations create shop --webhook https://shop.example.com/hooks --type 'order.*'
  tocsin destinations test shop
  tocsin destinations pause shop
"""
_CREATE_EXAMPLES = """\b
Examples:
  tocsin destinations create shop --webhook https://shop.example.com/hooks --type 'order.*' --ordered
  tocsin destinations create big --webhook https://shop.example.com/big --where 'amount > `100` && paid'
  tocsin destinations create ops --transport email --to ops@example.com --severity critical
  tocsin destinations create phone --transport apprise --service ops
  tocsin destinations create chat --transport discord --body @discord.json   # with the secret inside
  tocsin destinations create us --transport telegram --chat-id -1001234567 --body @token.json \\
    --quiet-hours '22:00-07:00 Europe/Berlin'
"""
_CHANGE_EXAMPLES = """\b
Examples:
  tocsin destinations change shop --webhook https://shop.example.com/v2/hooks
  tocsin destinations change shop --rate-per-s 10 --concurrency 2
  tocsin destinations change shop --body '{"filter": {}, "rate_per_s": null}'
  tocsin destinations change chat --incidents post --quiet-hours none
"""


@click.group(epilog=_EXAMPLES)
def destinations() -> None:
    """Say where events go, try it, hold it back. A destination is named by its id, or by its name."""


@destinations.command("list", epilog="\b\nExamples:\n  tocsin destinations list --all\n")
@paging_options
@uses_gateway
def list_destinations(session: Session, limit: int, cursor: str | None, everything: bool) -> None:
    """List destinations, oldest first."""
    wanted = paging(limit, cursor, everything=everything)
    session.out.rows(listed(session, "/api/v1/destinations", "destinations", None, wanted), _COLUMNS)


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations get shop --output json\n")
@click.argument("destination")
@uses_gateway
def get(session: Session, destination: str) -> None:
    """Show one destination; its secrets are masked."""
    from tocsin.cli.managing.destination_lookup import find_destination  # noqa: PLC0415  the help does without

    session.out.record(find_destination(session, destination))


@destinations.command(epilog=_CREATE_EXAMPLES)
@click.argument("name")
@click.option("--transport", type=click.Choice(_TRANSPORTS), default="webhook", show_default=True, help="Way out.")
@destination_options
@uses_gateway
def create(session: Session, /, name: str, transport: str, **given: Any) -> None:
    """Make a destination; prints it with its signing secret, which is shown only now."""
    body = {"name": name, "transport": transport, **body_of(given)}
    session.out.record(session.api.post("/api/v1/destinations", body))
    session.out.note("the secret is shown only now; keep it")


@destinations.command(epilog=_CHANGE_EXAMPLES)
@click.argument("destination")
@click.option("--name", metavar="NAME", help="Another name.")
@destination_options
@uses_gateway
def change(session: Session, /, destination: str, name: str | None, **given: Any) -> None:
    """Change a destination; a filter and an address are replaced as a whole, but for secrets not given."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    body = body_of(given) | ({} if name is None else {"name": name})
    if not body:
        raise Failure(USAGE, "nothing is to be changed; tocsin destinations change --help shows what can be")
    session.out.record(session.api.call("PATCH", path_of(session, destination), body))


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations delete shop --yes\n")
@click.argument("destination")
@yes_option
@uses_gateway
def delete(session: Session, destination: str, yes: bool) -> None:
    """Remove a destination, giving up what waits for it."""
    from tocsin.cli.managing.destination_lookup import find_destination  # noqa: PLC0415  the help does without

    found = find_destination(session, destination)
    ask(f"the destination {found['name']} ({found['id']}) would be removed, with all that waits for it", yes=yes)
    session.out.record(session.api.call("DELETE", f"/api/v1/destinations/{found['id']}"))


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations test shop\n")
@click.argument("destination")
@uses_gateway
def test(session: Session, destination: str) -> None:
    """Send a real event of type tocsin.test there, whatever the filter says."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    told = session.api.post(f"{path_of(session, destination)}/test")
    session.out.record(told)
    session.out.note(f"what became of it: tocsin events attempts {told['event_id']}")


@destinations.command("telegram-link", epilog="\b\nExamples:\n  tocsin destinations telegram-link us --no-wait\n")
@click.argument("destination")
@wait_option
@uses_gateway
def telegram_link(session: Session, destination: str, no_wait: bool) -> None:
    """Make a link by which a person connects their Telegram with a destination's bot, and wait for them."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    connect(session, f"{path_of(session, destination)}/telegram-link", no_wait=no_wait)


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations pause shop\n")
@click.argument("destination")
@uses_gateway
def pause(session: Session, destination: str) -> None:
    """Hold back what is to be sent there, until it is resumed."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    session.out.record(session.api.post(f"{path_of(session, destination)}/pause"))


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations resume shop\n")
@click.argument("destination")
@uses_gateway
def resume(session: Session, destination: str) -> None:
    """Let go what was held back."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    session.out.record(session.api.post(f"{path_of(session, destination)}/resume"))


@destinations.command(epilog="\b\nExamples:\n  tocsin destinations rotate shop\n")
@click.argument("destination")
@uses_gateway
def rotate(session: Session, destination: str) -> None:
    """Make a new signing secret, which is shown only now; for a while the old one signs too."""
    from tocsin.cli.managing.destination_lookup import path_of  # noqa: PLC0415  the help does without

    session.out.record(session.api.post(f"{path_of(session, destination)}/rotate-secret"))
    session.out.note("the secret is shown only now; keep it")
