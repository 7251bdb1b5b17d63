"""The checks of ``tocsin doctor``: of this machine, its data, and the gateway."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tocsin import __version__
from tocsin.cli.client.api import Answer, Api
from tocsin.cli.faults import Failure

FREE_BYTES_MIN = 1024**3
FSYNC_MS_MAX = 20.0
FILES_MIN = 4096
SKEW_S_MAX = 30.0
"""Signatures are taken with five minutes of tolerance; who is off by a tenth of that is told in time."""
_FSYNC_ROUNDS = 15
_RESOLVED_MAX = 50


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        result: ``ok``, ``warning`` or ``fault``.
        do: what to do about it; None where it is fine.
    """

    check: str
    result: str
    found: str
    do: str | None = None


def local_findings(settings: Any, *, running: bool) -> Iterator[Finding]:
    """Yield what is found of this machine and the data.

    Args:
        running: a gateway answers, so that its port is taken by right.
    """
    if settings.values.database is None:
        yield from _embedded(settings.values.data)
    else:
        from tocsin.cli.gateway.database_check import database_findings  # noqa: PLC0415  imports the whole program

        yield from database_findings(settings)
    yield _files()
    if not running and settings.values.role != "dispatcher":
        yield _port(settings.values.host, settings.values.port)


def _embedded(data: Path) -> Iterator[Finding]:
    place = next(each for each in (data, *data.absolute().parents) if each.exists())
    yield _writable(data, place)
    yield _space(place)
    yield _disk(place)
    yield _database(data)


def gateway_findings(api: Api) -> Iterator[Finding]:
    """Yield what is found of the gateway; where it cannot be reached, only that."""
    try:
        answer = api.send("GET", "/ready", timeout_s=10)
    except Failure as failure:
        yield Finding("gateway", "fault", failure.message, "start it with: tocsin serve; or give its --url")
        return
    yield Finding("gateway", "ok", f"{api.base_url} answers in {answer.elapsed_ms:.0f} ms")
    yield _ready(answer)
    yield _skew(answer)
    yield from _key(api)


def _writable(data: Path, place: Path) -> Finding:
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("data directory", "fault", f"{place} cannot be written", "choose another --data, or its owner")
    if place != data:
        return Finding("data directory", "warning", f"{data} is not there yet", "tocsin init, or serve, makes it")
    mode = data.stat().st_mode & 0o077
    if mode:
        return Finding("data directory", "warning", f"{data} can be read by others", f"chmod 700 {data}")
    return Finding("data directory", "ok", f"{data} can be written")


def _space(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    found = f"{free / 1024**3:.1f} GiB free"
    if free < FREE_BYTES_MIN:
        return Finding("disk space", "fault", found, "make room: a gateway that cannot store refuses events")
    return Finding("disk space", "ok", found)


def _disk(place: Path) -> Finding:
    """Measure how long it takes until a write is on the disk: no event is acknowledged before that."""
    path = place / f".tocsin-doctor.{os.getpid()}"
    taken_ms = []
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(_FSYNC_ROUNDS):
                os.write(descriptor, b"\0" * 4096)
                started_s = time.monotonic()
                os.fsync(descriptor)
                taken_ms.append((time.monotonic() - started_s) * 1000)
        finally:
            os.close(descriptor)
            path.unlink()
    except OSError as error:
        return Finding("disk speed", "fault", f"cannot be measured: {error.strerror}", "see to the data directory")
    median = sorted(taken_ms)[_FSYNC_ROUNDS // 2]
    found = f"fsync takes {median:.2f} ms"
    if median > FSYNC_MS_MAX:
        return Finding(
            "disk speed", "warning", found, "a faster disk: each commit waits for it, many events share one"
        )
    return Finding("disk speed", "ok", found)


def _database(data: Path) -> Finding:
    from tocsin.bootstrap.backup import damage_of  # noqa: PLC0415  imports the whole program
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415

    try:
        found = damage_of(data)
    except EngineRefused as error:
        return Finding("database", "fault", str(error), "restore it from a backup, or choose another --data")
    if found is None:
        return Finding("database", "warning", "there is none yet", "tocsin init, or serve, makes it")
    if found == "":
        return Finding("database", "ok", "is sound")
    if found == "in use":
        return Finding(
            "database", "ok", "in use by a running gateway, which checked it; stopped, it is looked through"
        )
    return Finding("database", "fault", found, "restore it from a backup")


def _files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "no limit" if hard == resource.RLIM_INFINITY else f"{hard} at once"
    if hard != resource.RLIM_INFINITY and hard < FILES_MIN:
        return Finding("open files", "warning", found, f"raise it to {FILES_MIN} (ulimit -n): a connection is one")
    return Finding("open files", "ok", found)


def _port(host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return Finding("port", "ok", f"{host} port {port} is free")
    except OSError as error:
        return Finding("port", "fault", f"{host} port {port}: {error.strerror}", "choose another --port or --host")


def _ready(answer: Answer) -> Finding:
    told: dict[str, Any] = {}
    with suppress(Failure):
        told = answer.json
    if answer.status != 200:
        return Finding(
            "store",
            "fault",
            str(told.get("detail", answer.status)),
            "see the gateway's log, and its disk or its PostgreSQL",
        )
    return Finding("store", "ok", f"{told.get('engine')} {told.get('version')}, durability {told.get('durability')}")


def _skew(answer: Answer) -> Finding:
    try:
        there_s = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Finding("clock", "warning", "the gateway does not tell its time", "is --url the address of a Tocsin?")
    skew_s = time.time() - there_s
    found = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} the gateway"
    if abs(skew_s) > SKEW_S_MAX:
        return Finding("clock", "fault", found, "set both clocks (NTP): signatures hold for five minutes only")
    return Finding("clock", "ok", found)


def _key(api: Api) -> Iterator[Finding]:
    if api.key is None:
        yield Finding("key", "warning", "none was given", "--key, TOCSIN_KEY or tocsin profile add gives one")
        return
    try:
        organisation = api.get("/api/v1/orgs")
        listed = api.get("/api/v1/keys")
    except Failure as failure:
        yield Finding("key", "fault", failure.message, "tocsin keys create makes one; tocsin init --new-key, too")
        return
    own = [each for each in listed["keys"] if each.get("prefix") and api.key.startswith(each["prefix"])]
    scopes = f", scopes {', '.join(own[0]['scopes'])}" if len(own) == 1 else ""
    yield Finding("key", "ok", f"of {organisation.get('name') or organisation.get('id')}{scopes}")
    yield from _names(api)


def _names(api: Api) -> Iterator[Finding]:
    destinations = api.get("/api/v1/destinations", {"limit": _RESOLVED_MAX})["destinations"]
    hosts = {urlsplit(str(each["address"].get("url", ""))).hostname for each in destinations} - {None}
    lost = sorted(str(host) for host in hosts if not _resolves(str(host)))
    if lost:
        yield Finding(
            "host names", "warning", f"not found from here: {', '.join(lost)}", "see to the DNS, or the URLs"
        )
    elif hosts:
        yield Finding("host names", "ok", f"{len(hosts)} of destinations are found from here")


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def version_finding() -> Finding:
    """Return which version this is, on which Python and SQLite."""
    import platform  # noqa: PLC0415

    from tocsin.bootstrap.backup import sqlite_version  # noqa: PLC0415  imports the whole program
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415

    try:
        sqlite = sqlite_version()
    except EngineRefused as error:
        return Finding("version", "fault", str(error), "install the versions of requirements.lock")
    return Finding("version", "ok", f"Tocsin {__version__}, Python {platform.python_version()}, SQLite {sqlite}")
