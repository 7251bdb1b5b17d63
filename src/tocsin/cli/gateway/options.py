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
    database = click.option(
        "--database", metavar="URL", help="Refused by this version, which stores in SQLite only, in --data."
    )
    return data(database(command))


def fail(status: int, message: str) -> NoReturn:
    """End the program with one line on stderr."""
    click.echo(f"tocsin: {message}", err=True)
    sys.exit(status)
