"""Running one process of a gateway until a signal: the event loop, what is printed, and the end."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog

from tocsin.bootstrap import Gateway, SystemClock, check_processes, gateway, load_settings, shared_database
from tocsin.cli.exits import FAILED
from tocsin.cli.gateway.listening import listen, url_of
from tocsin.cli.gateway.logs import configure_logs
from tocsin.core.identifiers import prefixed
from tocsin.pipeline.provisioning import FirstKeys
from tocsin.settings import Settings, SettingsFault
from tocsin.web.server import HttpServer, ServerLimits

_log = structlog.get_logger("tocsin")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which one of several processes this is.

    Attributes:
        number: from 0.
        lifeline: a descriptor that ends when the parent has gone; then this process ends in order, too.
        ready: called once its work has begun.
    """

    number: int
    lifeline: int
    ready: Callable[[], None]


def run(*, try_out: bool = False, **flags: Any) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status; a second signal ends it at once.

    Args:
        flags: settings that are given by options; None where they are not.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    settings = load_settings(**flags)
    check_processes(settings)
    values = settings.values
    if try_out and (values.role != "all" or values.processes > 1):
        raise SettingsFault("--try wants one process that does all; leave --role and --processes out")
    configure_logs(values.log_level, values.log_format)
    raise_file_limit()
    if values.processes > 1:
        from tocsin.cli.gateway.processes import run_several  # noqa: PLC0415  only where there are several

        return run_several(settings)
    run_one(settings, values.port, try_out=try_out)
    return 0


def run_one(settings: Settings, port: int, *, try_out: bool = False, place: Place | None = None) -> None:
    """Run one process of the gateway, all of it unless it has a place among several.

    Args:
        port: shared with the others where there are any.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    values = settings.values
    with ExitStack() as stack:
        bound = operating = None
        if values.role != "dispatcher":
            bound = stack.enter_context(listen(values.host, port, shared=place is not None))
        if values.metrics_port is not None:
            own = values.metrics_port + (0 if place is None else place.number)
            operating = stack.enter_context(listen(values.host, own, setting="--metrics-port"))
        serving = _serve(settings, bound, operating, try_out=try_out, place=place)
        try:
            import uvloop  # noqa: PLC0415  not on every platform
        except ImportError:
            asyncio.run(serving)
        else:
            uvloop.run(serving)


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


async def _serve(
    settings: Settings,
    bound: socket.socket | None,
    operating: socket.socket | None,
    *,
    try_out: bool,
    place: Place | None,
) -> None:
    def die(reason: str) -> None:
        sys.stderr.write(f"tocsin: {reason}; ending at once\n")
        os._exit(FAILED)

    async with AsyncExitStack() as stack:
        sample: Callable[[Gateway], Awaitable[None]] | None = None
        if try_out and bound is not None:
            sample = await _tryout(settings, url_of(bound), stack)
        running = await stack.enter_async_context(gateway(settings, clock=SystemClock(), on_fatal=die))
        servers = _servers(settings, running, bound, operating)
        over = asyncio.Event()
        _stop_on_signals(servers, over, None if place is None else place.lifeline)
        if place is None:
            greet(settings, bound, running.first_keys)
        if sample is not None:
            await sample(running)
        _tune_collector()
        serving = [asyncio.create_task(server.serve()) for server in servers]
        for server in servers:
            await server.wait_started()
        if place is None:
            click.echo("Ready.")
            sys.stdout.flush()
        else:
            place.ready()
        await asyncio.gather(over.wait(), *serving)


def _servers(
    settings: Settings, running: Gateway, bound: socket.socket | None, operating: socket.socket | None
) -> list[HttpServer]:
    limits = settings.limits("server", ServerLimits)
    servers = []
    if bound is not None:
        tracing = running.parts.tracing
        server = HttpServer(running.app if tracing is None else tracing.around(running.app), bound, limits)
        running.parts.metrics.connections.follow(lambda: server.connections)
        servers.append(server)
    if operating is not None:
        servers.append(HttpServer(running.operations, operating, limits))
    return servers


def _tune_collector() -> None:
    """Leave what lives as long as the process out of the collector's rounds, and make them rare.

    Requests leave hardly any cycles, while each round looks at all that is under way: at 256 connections the default
    cost a sixth of the CPU, and the pauses half of the p99 (``make bench``).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


def _stop_on_signals(servers: list[HttpServer], over: asyncio.Event, lifeline: int | None) -> None:
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def stop() -> None:
        if over.is_set():
            for server in servers:
                server.stop_at_once()
        else:
            over.set()
            stopping.extend(loop.create_task(server.stop()) for server in servers)

    def parent_gone() -> None:
        assert lifeline is not None
        loop.remove_reader(lifeline)
        if not over.is_set():
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if lifeline is not None:
        loop.add_reader(lifeline, parent_gone)


async def _tryout(settings: Settings, base_url: str, stack: AsyncExitStack) -> Callable[[Gateway], Awaitable[None]]:
    """Start the receiver; return what makes the samples once the gateway runs."""
    from tocsin.cli.gateway.receiver import Receiver  # noqa: PLC0415  only where it is asked for
    from tocsin.cli.gateway.tryout import allow_loopback, prepare  # noqa: PLC0415

    receiver = Receiver()
    receiver_url = await receiver.open()
    stack.push_async_callback(receiver.close)
    allow_loopback(settings)
    return lambda running: prepare(running, receiver, receiver_url, base_url)


def _program() -> str:
    """Return how this program is started from here: by its name where a shell finds it, else as it was started."""
    given = Path(sys.argv[0])
    found = shutil.which("tocsin")
    is_found = found is not None and Path(found).resolve() == given.resolve()
    return "tocsin" if is_found or given.name != "tocsin" else shlex.quote(str(given))


def greet(settings: Settings, bound: socket.socket | None, first_keys: FirstKeys | None) -> None:
    """Print the address, and on a first run the keys."""
    database = shared_database(settings)
    if bound is not None:
        click.echo(f"Tocsin listens on {url_of(bound)}")
    else:
        click.echo(f"Tocsin sends what is stored in {database}")
    if first_keys is not None:
        directory = settings.values.data
        click.echo(f"API key       {first_keys.api_key}")
        click.echo(f"operator key  {first_keys.operator_key}")
        click.echo(f"organisation  {prefixed('org', first_keys.organisation_id)}")
        click.echo(f"database      {database}" if database is not None else f"data          {directory}")
        click.echo("The keys are shown only now; keep them.")
        if database is not None:
            click.echo(f"Further ones: {_program()} init --new-key, with the same TOCSIN_DATABASE")
        else:
            click.echo(f"Further ones, while it is stopped: {_program()} init --new-key --data {directory}")
    sys.stdout.flush()
