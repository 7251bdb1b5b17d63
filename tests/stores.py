"""What a test's gateways keep things in: the embedded SQLite, or databases on a real PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine.postgres_server import PostgresServer, fresh_database
from gateway import Gateway, Process, gateway_with

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

_SECRET_KEY = "5e" * 32


class Store:
    """Gives each gateway of a test an empty store.

    Args:
        server: where the databases are made; without it, each gateway keeps SQLite in its own directory.

    Attributes:
        name: the engine's, as a gateway calls it.
    """

    def __init__(self, server: PostgresServer | None) -> None:
        self.name = SQLITE if server is None else POSTGRESQL
        self._server = server
        self._databases = ExitStack()

    def settings(self) -> dict[str, str]:
        """Return settings by which a gateway with a new directory has an empty store, until this one is closed."""
        return self._databases.enter_context(self._fresh())

    @contextmanager
    def gateway_with(self, settings: dict[str, str]) -> Iterator[Gateway]:
        """Run a gateway with these settings, an empty store and a receiver of its own."""
        with self._fresh() as own, gateway_with(own | settings) as running:
            yield running

    def keep(self, process: Process) -> Callable[[], None]:
        """Copy what a stopped gateway has stored; return what puts the copy in its place, once it was killed."""
        if self._server is None:
            return _keep_directory(process.data)
        return _keep_database(self._server, process.settings["TOCSIN_DATABASE"].rpartition("/")[2])

    def close(self) -> None:
        """Drop what was made."""
        self._databases.close()

    @contextmanager
    def _fresh(self) -> Iterator[dict[str, str]]:
        if self._server is None:
            yield {}
            return
        with fresh_database(self._server) as url:
            yield {
                "TOCSIN_DATABASE": url,
                "TOCSIN_SECRET_KEY": _SECRET_KEY,
                # The server does not wait for the disk: no power is lost here.
                "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
            }


def _keep_directory(data: Path) -> Callable[[], None]:
    copy = data.with_name("copy")
    shutil.copytree(data, copy)

    def put_back() -> None:
        shutil.rmtree(data)
        copy.rename(data)

    return put_back


def _keep_database(server: PostgresServer, name: str) -> Callable[[], None]:
    copy = f"{name}_copy"
    server.execute(f"create database {copy} template {name} strategy file_copy")

    def put_back() -> None:
        server.execute(f"drop database {name} with (force)", f"alter database {copy} rename to {name}")

    return put_back
