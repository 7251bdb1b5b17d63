"""``tocsin categories``: what kinds of events an application sends to people."""

from __future__ import annotations

import click

from tocsin.cli.client.asking import yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.managing.removing import remove

_PATH = "/api/v1/categories"
_CHANNELS = ("discord", "telegram", "email")
_EXAMPLES = """\b
Examples:
  tocsin categories quickstart
  tocsin categories create bug --color '#ff6b6b'
"""


@click.group(epilog=_EXAMPLES)
def categories() -> None:
    """List, make and remove categories."""


@categories.command("list", epilog="\b\nExamples:\n  tocsin categories list\n")
@uses_gateway
def list_categories(session: Session) -> None:
    """List the categories, oldest first."""
    session.out.rows(session.api.get(_PATH)["categories"])


@categories.command(epilog="\b\nExamples:\n  tocsin categories create sale --color '#ffeb3b' --emoji 💰\n")
@click.argument("name")
@click.option("--color", metavar="#RRGGBB", default="#ff6b6b", show_default=True, help="Shown beside it.")
@click.option("--emoji", metavar="EMOJI", help="Shown beside it.")
@uses_gateway
def create(session: Session, name: str, color: str, emoji: str | None) -> None:
    """Make a category."""
    session.out.record(session.api.post(_PATH, {"name": name, "color": color} | ({"emoji": emoji} if emoji else {})))


@categories.command(epilog="\b\nExamples:\n  tocsin categories preview sale --channel telegram\n")
@click.argument("name")
@click.option("--channel", type=click.Choice(_CHANNELS), required=True, help="How people would be told.")
@click.option("--description", metavar="TEXT", help="Of the sample event.")
@uses_gateway
def preview(session: Session, name: str, channel: str, description: str | None) -> None:
    """Show a sample event as people would see it."""
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without
    from tocsin.cli.faults import visible  # noqa: PLC0415

    given = {"channel": channel} | ({} if description is None else {"description": description})
    shown = session.api.get(f"{_PATH}/{segment(name)}/preview", given)
    if session.out.form != "table" or channel == "discord":
        session.out.record(shown)
        return
    texts = shown["texts"] if channel == "telegram" else [f"Subject: {shown['subject']}", shown["text"]]
    for line in "\n\n".join(texts).split("\n"):
        session.out.line(visible(line))


@categories.command(epilog="\b\nExamples:\n  tocsin categories delete sale --yes\n")
@click.argument("name")
@yes_option
@uses_gateway
def delete(session: Session, name: str, yes: bool) -> None:
    """Remove a category; its past events stay."""
    remove(session, _PATH, name, f"the category {name} would be removed", yes=yes)


@categories.command(epilog="\b\nExamples:\n  tocsin categories quickstart\n")
@uses_gateway
def quickstart(session: Session) -> None:
    """Make the usual categories, those that are missing."""
    session.out.rows(session.api.post(f"{_PATH}/quickstart")["categories"])
