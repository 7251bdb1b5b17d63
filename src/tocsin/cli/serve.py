"""``tocsin serve``: the gateway in one process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.exits import ADDRESS, FAILED, STORE, USAGE
from tocsin.cli.options import fail, store_options

if TYPE_CHECKING:
    from tocsin.bootstrap import Gateway
    from tocsin.settings import Settings
    from tocsin.web.server import HttpServer

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
    from tocsin.bootstrap import load_settings  # noqa: PLC0415  imports half of the program
    from tocsin.cli.logs import configure_logs  # noqa: PLC0415
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    try:
        settings = load_settings(host=host, port=port, data=data, database=database)
        configure_logs(settings.values.log_level, settings.values.log_format)
        _run(settings, try_out=try_out)
    except SettingsFault as error:
        fail(USAGE, str(error))
    except EngineRefused as error:
        fail(STORE, str(error))


def _run(settings: Settings, *, try_out: bool) -> None:
    host, port = settings.values.host, settings.values.port
    try:
        bound = _listen(host, port)
    except OSError as error:
        fail(ADDRESS, f"cannot listen on {host} port {port}: {error.strerror or error}; choose another --port")
    with bound:
        try:
            import uvloop  # noqa: PLC0415  not on every platform
        except ImportError:
            asyncio.run(_serve(settings, bound, try_out=try_out))
        else:
            uvloop.run(_serve(settings, bound, try_out=try_out))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=2048)
    bound.setblocking(False)
    return bound


async def _serve(settings: Settings, bound: socket.socket, *, try_out: bool) -> None:
    from tocsin.bootstrap import SystemClock, gateway  # noqa: PLC0415
    from tocsin.web.server import HttpServer, ServerLimits  # noqa: PLC0415

    def die(reason: str) -> None:
        sys.stderr.write(f"tocsin: {reason}; ending at once, since nobody knows what the disk holds\n")
        os._exit(FAILED)

    async with AsyncExitStack() as stack:
        sample: Callable[[Gateway], Awaitable[None]] | None = None
        if try_out:
            sample = await _tryout(settings, _url(bound), stack)
        running = await stack.enter_async_context(gateway(settings, clock=SystemClock(), on_fatal=die))
        server = HttpServer(running.app, bound, settings.limits("server", ServerLimits))
        _stop_on_signals(server)
        _greet(_url(bound), running)
        if sample is not None:
            await sample(running)
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        click.echo("Ready.")
        sys.stdout.flush()
        await serving


def _stop_on_signals(server: HttpServer) -> None:
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if not stopping:
            stopping.append(loop.create_task(server.stop()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def _tryout(settings: Settings, base_url: str, stack: AsyncExitStack) -> Callable[[Gateway], Awaitable[None]]:
    """Start the receiver; return what makes the samples once the gateway runs."""
    from tocsin.cli.receiver import Receiver  # noqa: PLC0415
    from tocsin.cli.tryout import allow_loopback, prepare  # noqa: PLC0415

    receiver = Receiver()
    receiver_url = await receiver.open()
    stack.push_async_callback(receiver.close)
    allow_loopback(settings)
    return lambda running: prepare(running, receiver, receiver_url, base_url)


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greet(url: str, running: Gateway) -> None:
    """Print the address, and on a first run the keys."""
    click.echo(f"Tocsin listens on {url}")
    if running.first_keys is not None:
        click.echo(f"API key       {running.first_keys.api_key}")
        click.echo(f"operator key  {running.first_keys.operator_key}")
        click.echo("The keys are shown only now; keep them. Further ones: tocsin init --new-key")
    sys.stdout.flush()
