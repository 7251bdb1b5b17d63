"""``tocsin``: the commands."""

from __future__ import annotations

import sys

import click

from tocsin import __version__
from tocsin.cli.exits import USAGE
from tocsin.cli.init import init
from tocsin.cli.serve import serve


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag is also a setting: TOCSIN_PORT, or port in tocsin.toml.",
)
@click.version_option(__version__, prog_name="tocsin")
def cli() -> None:
    """Tocsin, a self-hosted event gateway: any dialect in, any destination out."""


cli.add_command(serve)
cli.add_command(init)


def main() -> None:
    """Run the command line; usage errors end with exit status 2."""
    try:
        cli(prog_name="tocsin", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code if error.exit_code != 1 else USAGE)
    except click.Abort:
        sys.exit(130)
