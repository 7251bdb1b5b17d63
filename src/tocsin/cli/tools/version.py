"""``tocsin version``."""

from __future__ import annotations

import platform

import click

from tocsin import __version__

_EXAMPLES = """\b
Examples:
  tocsin version
  tocsin version --json
"""


@click.command(epilog=_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with Python's version and the system.")
def version(as_json: bool) -> None:
    """Show the version."""
    if not as_json:
        click.echo(__version__)
        return
    from tocsin.cli.client.output import json_text  # noqa: PLC0415  the help does without

    click.echo(
        json_text({"version": __version__, "python": platform.python_version(), "platform": platform.platform()})
    )
