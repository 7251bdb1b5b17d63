"""Passwords and secrets: from a file, the environment or a prompt, never from an argument that others can see."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tocsin.cli.client.values import bytes_of
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

F = TypeVar("F", bound=Callable[..., Any])

CHANNEL_PASSWORD = "TOCSIN_CHANNEL_PASSWORD"  # noqa: S105  the names of variables
SIGNING_SECRET = "TOCSIN_SIGNING_SECRET"  # noqa: S105
VARIABLES = frozenset({CHANNEL_PASSWORD, SIGNING_SECRET})
"""Variables that hold a secret and belong to no option."""


def password_option(function: F) -> F:
    """Add ``--password-file``."""
    return click.option(
        "--password-file",
        metavar="FILE",
        help=f"File with the channel's password; - is stdin.  [default: {CHANNEL_PASSWORD}, else it is asked for]",
    )(function)


def secret_option(function: F) -> F:
    """Add ``--secret-file``."""
    return click.option(
        "--secret-file",
        metavar="FILE",
        help=f"File with the signing secret; - is stdin.  [default: {SIGNING_SECRET}, else it is asked for]",
    )(function)


def channel_password(path: str | None) -> str:
    """Return a channel's password.

    Raises:
        Failure: there is none, and nobody to ask.
    """
    return _secret(path, CHANNEL_PASSWORD, "--password-file", "Channel password")


def signing_secret(path: str | None) -> str:
    """Return a signing secret.

    Raises:
        Failure: there is none, and nobody to ask.
    """
    return _secret(path, SIGNING_SECRET, "--secret-file", "Signing secret")


def _secret(path: str | None, variable: str, option: str, what: str) -> str:
    if path is not None:
        try:
            found = bytes_of(path).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise Failure(USAGE, f"{option}: what was read is not UTF-8") from None
    else:
        found = os.environ.get(variable, "")
    if not found and path is None and sys.stdin.isatty() and sys.stderr.isatty():
        found = click.prompt(what, hide_input=True, err=True)
    if not found:
        raise Failure(USAGE, f"{what.lower()} missing; give it in {variable} or with {option}")
    return found
