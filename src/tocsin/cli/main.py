"""``tocsin``: the commands."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

import click

from tocsin import __version__
from tocsin.cli.client.session import global_options
from tocsin.cli.exits import FAILED, INTERRUPTED, PIPE_CLOSED, USAGE
from tocsin.cli.faults import Failure, PipeClosed, visible
from tocsin.cli.group import TRACEBACK, Commands
from tocsin.cli.standard_streams import OutputLost, let_go_of_output, prepare_streams

_EPILOG = """\b
Examples:
  tocsin serve --try
  tocsin profile add home --url http://127.0.0.1:8080
  tocsin send -c bug -d "Checkout fails" -f service=api
  tocsin COMMAND --help

\b
Every option has a variable: TOCSIN_URL, TOCSIN_SEND_CATEGORY. Those of serve and init are
settings, TOCSIN_PORT, or port in tocsin.toml. All of it: docs/cli.md and docs/settings.md.
"""


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="tocsin")
@global_options(variables=True)
def cli() -> None:
    """Tocsin, a self-hosted event gateway: any dialect in, any destination out."""


def main() -> NoReturn:
    """Run the command line; end with a status of ``exits`` and, where it failed, one line on stderr."""
    prepare_streams()
    sys.exit(_status())


def _status() -> int:
    try:
        # A command that ends by ctx.exit() returns its status here.
        status = cli(prog_name="tocsin", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except Failure as failure:
        _tell(failure.message)
        return failure.status
    except click.ClickException as error:
        error.show()
        return error.exit_code if error.exit_code != 1 else USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except PipeClosed:
        let_go_of_output()
        return PIPE_CLOSED
    except OutputLost as error:
        let_go_of_output()
        _tell(f"the output cannot be written: {error.strerror}")
        return FAILED
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        told = f"{type(error).__name__}: {error} ({_place(error)})"
        _tell(f"a fault of Tocsin's own: {told}; please report it, with what {TRACEBACK}=1 shows")
        return FAILED


def _tell(message: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"tocsin: {visible(message)}", err=True)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "nowhere"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119  a name only
