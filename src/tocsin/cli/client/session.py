"""What every command of a client has: where the gateway is, the key, and the form of the output."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from tocsin.cli.client.choices import Choices

if TYPE_CHECKING:
    from tocsin.cli.client.api import Api
    from tocsin.cli.client.output import Printer

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")

FORMS = ("table", "json", "ndjson")

_OUTPUT_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "output": (
        ("--output", "output_form"),
        {"type": click.Choice(FORMS), "help": "Form of the output.  [default: table on a terminal, else ndjson]"},
    ),
    "quiet": (
        ("--quiet", "output_quiet"),
        {"is_flag": True, "default": None, "help": "No chatter on stderr; errors stay."},
    ),
}
_GATEWAY_OPTIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "url": (("--url", "gateway_url"), {"metavar": "URL", "help": "The gateway.  [default: http://127.0.0.1:8080]"}),
    "key": (
        ("--key", "gateway_key"),
        {"metavar": "KEY", "help": "API key; a variable or a profile keeps it out of the history."},
    ),
    "profile": (
        ("--profile", "gateway_profile"),
        {"metavar": "NAME", "help": "Gateway and key kept by tocsin profile."},
    ),
    **_OUTPUT_OPTIONS,
}
GLOBAL_OPTIONS = {flags[1]: name for name, (flags, _) in _GATEWAY_OPTIONS.items()}
"""The options that stand before the command as well as behind it: parameter, and its name in ``Choices``."""


@dataclass(frozen=True, slots=True)
class Session:
    """A command's gateway and its output.

    Attributes:
        api: the gateway's HTTP API.
        out: where rows and notes go.
        profile: name of the profile in use, or None.
    """

    api: Api
    out: Printer
    profile: str | None


def global_options(*, variables: bool = False, gateway: bool = True) -> Callable[[F], F]:
    """Return a decorator that adds the global options; what they say is kept in ``Choices``.

    Args:
        variables: whether they are read from ``TOCSIN_URL`` and so on, too.
        gateway: False leaves out those that say which gateway.
    """

    def add(function: F) -> F:
        for name, (flags, attributes) in reversed((_GATEWAY_OPTIONS if gateway else _OUTPUT_OPTIONS).items()):
            function = click.option(
                *flags,
                expose_value=False,
                callback=_keep,
                envvar=f"TOCSIN_{name.upper()}" if variables else None,
                **attributes,
            )(function)
        return function

    return add


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    choices = context.ensure_object(Choices)
    if value is not None and option.name is not None:
        from_variable = context.get_parameter_source(option.name) is click.core.ParameterSource.ENVIRONMENT
        (choices.variables if from_variable else choices.flags)[GLOBAL_OPTIONS[option.name]] = value


def uses_gateway(function: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Give a command's function a ``Session`` as its first argument, and the command the global options.

    It stands nearest to the function, below ``@click.command`` and the command's own options.
    """

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        from tocsin.cli.client.api import Api  # noqa: PLC0415  the help does without
        from tocsin.cli.client.profiles import choose  # noqa: PLC0415

        choices = click.get_current_context().ensure_object(Choices)
        gateway = choose(choices)
        with Api(gateway.url, gateway.key) as api:
            return function(Session(api, _printer(choices), gateway.profile), *arguments, **options)

    return global_options()(run)


def uses_output(function: Callable[Concatenate[Printer, P], R]) -> Callable[P, R]:
    """Give a command's function a ``Printer`` as its first argument, for commands that need no gateway."""

    @functools.wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        choices = click.get_current_context().ensure_object(Choices)
        return function(_printer(choices), *arguments, **options)

    return global_options(gateway=False)(run)


def _printer(choices: Choices) -> Printer:
    from tocsin.cli.client.output import Printer  # noqa: PLC0415  the help does without

    return Printer(choices.get("output"), quiet=bool(choices.get("quiet")))
