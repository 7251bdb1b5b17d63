"""The group of all commands, which loads each only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from tocsin.cli.catalogue import OF_SETTINGS, SECTIONS, entries
from tocsin.cli.client.secret_input import VARIABLES
from tocsin.cli.client.session import GLOBAL_OPTIONS
from tocsin.cli.faults import PipeClosed

TRACEBACK = "TOCSIN_TRACEBACK"
"""The variable that has a fault of ours shown with where it came from."""


OF_EVENTS = "TOCSIN_EVENT_"
"""How the variables begin that ``tocsin tail`` gives to the commands it runs."""


class Commands(click.Group):
    """All commands of the catalogue."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names, in the order of the help."""
        return list(entries())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, loading it; None where there is none."""
        return load(cmd_name) if cmd_name in entries() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments begin with, or tell what may have been meant."""
        if not ctx.resilient_parsing and args[0] not in entries():
            near = get_close_matches(args[0], entries(), 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands by what they do."""
        width = max(map(len, entries()))
        for title, commands in SECTIONS.items():
            if commands:
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(width), entry.summary) for name, entry in commands.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments; the help is written meanwhile."""
        with _noticing_readers_gone():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _noticing_readers_gone():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result


@contextmanager
def _noticing_readers_gone() -> Iterator[None]:
    """Tell a reader who has gone from other faults: click's own way ends with 1."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosed from error


def load(name: str) -> click.Command:
    """Return a command of the catalogue, its options given their environment variables."""
    module, _, attribute = entries()[name].place.partition(":")
    command = getattr(importlib.import_module(f"tocsin.cli.{module}"), attribute)
    assert isinstance(command, click.Command)
    if name not in OF_SETTINGS:
        _name_variables(command, f"TOCSIN_{_as_variable(name)}")
    return command


def forget_client_variables() -> None:
    """Take the variables of commands that talk to a gateway out of this process's environment.

    For commands that read settings: these refuse a variable of ours that is no setting, and whoever keeps
    ``TOCSIN_URL`` and ``TOCSIN_KEY`` in the environment must be able to start a gateway, too.
    """
    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    for name in client_variables(root):
        os.environ.pop(name, None)
    for name in [each for each in os.environ if each.startswith(OF_EVENTS)]:
        del os.environ[name]


def client_variables(cli: click.Group) -> set[str]:
    """Return every environment variable that is read by a command, and is no setting."""
    clients = (load(name) for name in entries() if name not in OF_SETTINGS)
    return {TRACEBACK, *VARIABLES}.union(variables_of(cli), *(variables_of(command) for command in clients))


def variables_of(command: click.Command) -> set[str]:
    """Return the environment variables of a command and of what is below it."""
    found = {name for option in command.params for name in named(option)}
    if isinstance(command, click.Group) and not isinstance(command, Commands):
        found.update(*(variables_of(each) for each in command.commands.values()))
    return found


def named(parameter: click.Parameter) -> list[str]:
    """Return the environment variables of a parameter, the strongest first."""
    names = parameter.envvar
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def _name_variables(command: click.Command, prefix: str) -> None:
    """Give each option ``TOCSIN_<COMMAND>_<OPTION>``, by its long flag; one it has already counts before."""
    for option in command.params:
        flags = [flag[2:] for flag in option.opts if flag.startswith("--")]
        if isinstance(option, click.Option) and flags and option.name not in GLOBAL_OPTIONS:
            own = f"{prefix}_{_as_variable(flags[0])}"
            if own not in named(option):
                option.envvar = [*named(option), own]
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            _name_variables(each, f"{prefix}_{_as_variable(name)}")


def _as_variable(name: str) -> str:
    return name.upper().replace("-", "_")
