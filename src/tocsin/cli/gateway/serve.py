"""``tocsin serve``: the gateway in one process."""

from __future__ import annotations

from pathlib import Path

import click

from tocsin.cli.exits import STORE, USAGE
from tocsin.cli.gateway.options import fail, store_options

_EXAMPLES = """\b
Examples:
  tocsin serve
  tocsin serve --host 0.0.0.0 --port 8080 --data /var/lib/tocsin
  tocsin serve --port 0 --try          # a free port, sample objects and a local receiver
"""


@click.command(epilog=_EXAMPLES)
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.  [default: 8080]")
@store_options
@click.option(
    "--try",
    "try_out",
    is_flag=True,
    help="Also run a receiver on this machine, with a sample channel, category and endpoint, and print curl lines.",
)
def serve(host: str | None, port: int | None, data: Path | None, database: str | None, try_out: bool) -> None:
    """Serve all five dialects on one port, and send what comes in. Initialises by itself on a first run."""
    from tocsin.cli.gateway.running import run  # noqa: PLC0415  imports the whole program
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    forget_client_variables()
    try:
        run(host=host, port=port, data=data, database=database, try_out=try_out)
    except SettingsFault as error:
        fail(USAGE, str(error))
    except EngineRefused as error:
        fail(STORE, str(error))
