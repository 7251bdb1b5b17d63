"""``tocsin serve``: the gateway, in one process or several."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.gateway.options import process_options, store_options
from tocsin.cli.gateway.starting import start

_EXAMPLES = """\b
Examples:
  tocsin serve
  tocsin serve --host 0.0.0.0 --port 8080 --data /var/lib/tocsin
  tocsin serve --port 0 --try          # a free port, sample objects and a local receiver
  tocsin serve --database postgresql://tocsin@db/tocsin --role gateway --processes 4
"""


@click.command(epilog=_EXAMPLES)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 8080]")
@store_options
@click.option(
    "--role",
    type=click.Choice(["all", "gateway", "dispatcher"]),
    help="gateway takes events, dispatcher sends them (as tocsin work); both want --database.  [default: all]",
)
@process_options
@click.option(
    "--try",
    "try_out",
    is_flag=True,
    help="Also run a receiver on this machine, with a sample channel, category and endpoint, and print curl lines.",
)
def serve(*, try_out: bool, **flags: Any) -> None:
    """Serve all five dialects on one port, and send what comes in. Initialises by itself on a first run."""
    start(try_out=try_out, **flags)
