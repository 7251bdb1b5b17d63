"""Asking before something large is done, or something that cannot be undone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

F = TypeVar("F", bound=Callable[..., Any])


def yes_option(function: F) -> F:
    """Add ``--yes``."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def somebody_is_there() -> bool:
    """Return whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(what: str, *, yes: bool) -> None:
    """Return if it may be done; a person who says no ends the command.

    Args:
        what: the deed with how much it touches, as a sentence without its end.

    Raises:
        Failure: there is nobody to ask, and ``--yes`` was not given.
    """
    if yes:
        return
    if not somebody_is_there():
        raise Failure(USAGE, f"{what}; nothing is done yet: with --yes it is")
    click.confirm(f"{what}. Go on?", abort=True, err=True)
