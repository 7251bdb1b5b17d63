"""``tocsin work``: a dispatcher without a gateway."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.gateway.options import process_options, store_options
from tocsin.cli.gateway.starting import start

_EXAMPLES = """\b
Examples:
  tocsin work --database postgresql://tocsin@db/tocsin
  tocsin work --processes 4 --metrics-port 9100    # 9100 to 9103
"""


@click.command(epilog=_EXAMPLES)
@click.option("--host", help="Address of --metrics-port.  [default: 127.0.0.1]")
@store_options
@process_options
def work(**flags: Any) -> None:
    """Send what gateways have stored in a PostgreSQL, and do their jobs; listens nowhere but on --metrics-port."""
    start(role="dispatcher", **flags)
