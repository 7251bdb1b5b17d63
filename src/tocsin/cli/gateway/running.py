"""Running the gateway until a signal: the socket, the event loop, what is printed, and the end."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import click
import structlog

from tocsin.bootstrap import Gateway, SystemClock, gateway, load_settings
from tocsin.cli.exits import ADDRESS, FAILED
from tocsin.cli.gateway.logs import configure_logs
from tocsin.cli.gateway.options import fail
from tocsin.core.identifiers import prefixed
from tocsin.settings import Settings
from tocsin.web.server import HttpServer, ServerLimits

_log = structlog.get_logger("tocsin")


def run(*, host: str | None, port: int | None, data: Path | None, database: str | None, try_out: bool) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends it at once.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    settings = load_settings(host=host, port=port, data=data, database=database)
    configure_logs(settings.values.log_level, settings.values.log_format)
    raise_file_limit()
    try:
        bound = _listen(settings.values.host, settings.values.port)
    except OSError as error:
        where = f"{settings.values.host} port {settings.values.port}"
        fail(ADDRESS, f"cannot listen on {where}: {error.strerror or error}; choose another --port or --host")
    with bound:
        try:
            import uvloop  # noqa: PLC0415  not on every platform
        except ImportError:
            asyncio.run(_serve(settings, bound, try_out=try_out))
        else:
            uvloop.run(_serve(settings, bound, try_out=try_out))


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each connection, in or out, is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:
        # macOS has a lower limit of its own behind an infinite one.
        _log.debug("file_limit_kept", limit=soft, error=str(error))
    else:
        _log.debug("file_limit_raised", limit=hard, before=soft)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=2048)
    bound.setblocking(False)
    return bound


async def _serve(settings: Settings, bound: socket.socket, *, try_out: bool) -> None:
    def die(reason: str) -> None:
        sys.stderr.write(f"tocsin: {reason}; ending at once\n")
        os._exit(FAILED)

    async with AsyncExitStack() as stack:
        sample: Callable[[Gateway], Awaitable[None]] | None = None
        if try_out:
            sample = await _tryout(settings, _url(bound), stack)
        running = await stack.enter_async_context(gateway(settings, clock=SystemClock(), on_fatal=die))
        tracing = running.parts.tracing
        app = running.app if tracing is None else tracing.around(running.app)
        server = HttpServer(app, bound, settings.limits("server", ServerLimits))
        running.parts.metrics.connections.follow(lambda: server.connections)
        _stop_on_signals(server)
        _greet(_url(bound), running)
        if sample is not None:
            await sample(running)
        _tune_collector()
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        click.echo("Ready.")
        sys.stdout.flush()
        await serving


def _tune_collector() -> None:
    """Leave what lives as long as the process out of the collector's rounds, and make them rare.

    Requests leave hardly any cycles, while each round looks at all that is under way: at 256 connections the default
    cost a sixth of the CPU, and the pauses half of the p99 (``make bench``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def _stop_on_signals(server: HttpServer) -> None:
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if stopping:
            server.stop_at_once()
        else:
            stopping.append(loop.create_task(server.stop()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


async def _tryout(settings: Settings, base_url: str, stack: AsyncExitStack) -> Callable[[Gateway], Awaitable[None]]:
    """Start the receiver; return what makes the samples once the gateway runs."""
    from tocsin.cli.gateway.receiver import Receiver  # noqa: PLC0415  only where it is asked for
    from tocsin.cli.gateway.tryout import allow_loopback, prepare  # noqa: PLC0415

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
        directory = running.parts.settings.values.data
        click.echo(f"organisation  {prefixed('org', running.first_keys.organisation_id)}")
        click.echo(f"data          {directory}")
        click.echo("The keys are shown only now; keep them.")
        click.echo(f"Further ones, while it is stopped: tocsin init --new-key --data {directory}")
    sys.stdout.flush()
