"""``tocsin dev``: what helps to try things out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tocsin.cli.client.choices import Choices
from tocsin.cli.client.output import Printer, json_text
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import ADDRESS
from tocsin.cli.faults import Failure

if TYPE_CHECKING:
    from tocsin.fakes import Fakes, Ports

F = TypeVar("F", bound=Callable[..., Any])

PAGE_PORT = 8300
DISCORD_PORT = 8301
TELEGRAM_PORT = 8302
SMTP_PORT = 8325

_EXAMPLES = """\b
Examples:
  tocsin dev fakes
"""
_FAKES_EXAMPLES = """\b
Examples:
  tocsin dev fakes                    # what it prints is for the environment of tocsin serve
  tocsin dev fakes --page-port 0 --discord-port 0 --telegram-port 0 --smtp-port 0 --json
  curl http://127.0.0.1:8301/_control/discord -H 'Content-Type: application/json' \\
    -d '{"answers": [{"status": 429, "retry_after": 1.5}, {"delay_s": 2}, {"down": true}]}'
"""


@click.group(epilog=_EXAMPLES)
def dev() -> None:
    """Try out on this machine what people are told, without an account anywhere."""


def _port(flag: str, default: int, what: str) -> Callable[[F], F]:
    return click.option(
        flag,
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        metavar="PORT",
        help=f"Where {what} listens; 0 is a free port.",
    )


@dev.command(epilog=_FAKES_EXAMPLES)
@_port("--page-port", PAGE_PORT, "the page")
@_port("--discord-port", DISCORD_PORT, "Discord")
@_port("--telegram-port", TELEGRAM_PORT, "Telegram")
@_port("--smtp-port", SMTP_PORT, "the mail server")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@uses_output
def fakes(out: Printer, page_port: int, discord_port: int, telegram_port: int, smtp_port: int, as_json: bool) -> None:
    """Run a fake Discord, Telegram and mail server, and a page that shows what arrived, until Ctrl-C.

    They are real servers on this machine, which take and refuse what the real ones do. Nothing leaves the machine.
    The lines that it prints make a gateway use them. Buttons on the page, or POST /_control/discord, /telegram and
    /smtp, script what the next requests get.
    """
    import asyncio  # noqa: PLC0415  the help does without

    from tocsin.fakes import Ports  # noqa: PLC0415

    ports = Ports(page=page_port, discord=discord_port, telegram=telegram_port, smtp=smtp_port)
    form = click.get_current_context().ensure_object(Choices).get("output")
    is_wanted = as_json or form in ("json", "ndjson")
    try:
        asyncio.run(_run(ports, lambda running: _tell(out, running, as_json=is_wanted)))
    except OSError as error:
        raise Failure(ADDRESS, f"cannot listen: {error.strerror or error}; choose another port, or 0") from error


async def _run(ports: Ports, tell: Callable[[Fakes], None]) -> None:
    """Run the fakes until SIGINT or SIGTERM."""
    import asyncio  # noqa: PLC0415  the help does without
    import signal  # noqa: PLC0415

    from tocsin.fakes import Fakes  # noqa: PLC0415

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Fakes(ports) as running:
        tell(running)
        await stopped.wait()


def _tell(out: Printer, running: Fakes, *, as_json: bool) -> None:
    settings = running.settings()
    if as_json:
        out.line(json_text({"page": running.page.url, "settings": settings}))
        return
    out.line(f"# What arrives is shown at {running.page.url}")
    for name, value in settings.items():
        out.line(f"{name}={value}")
    out.note("it goes on until Ctrl-C")
