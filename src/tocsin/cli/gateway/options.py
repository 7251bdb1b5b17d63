"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def store_options(command: F) -> F:
    """Add the options that say where the data are."""
    data = click.option(
        "--data", type=click.Path(file_okay=False, path_type=Path), help="Directory of the embedded database."
    )
    return data(database_option(command))


def database_option(command: F) -> F:
    """Add the option that names a PostgreSQL."""
    return click.option(
        "--database",
        metavar="URL",
        help="PostgreSQL to store in instead, postgresql://user@host/name; a password belongs in TOCSIN_DATABASE.",
    )(command)


def process_options(command: F) -> F:
    """Add the options of who runs for long."""
    processes = click.option(
        "--processes", type=int, help="How many processes; more than one want --database.  [default: 1]"
    )
    metrics = click.option(
        "--metrics-port",
        type=int,
        help="Port for the /ready and /metrics of one process; the second has the next port.",
    )
    return processes(metrics(command))


def fail(status: int, message: str) -> NoReturn:
    """End the program with one line on stderr."""
    click.echo(f"tocsin: {message}", err=True)
    sys.exit(status)
