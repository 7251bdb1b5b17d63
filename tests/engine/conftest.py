"""Fixtures of the engines' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.postgres_server import PostgresServer, fast_server, fresh_database


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that does not wait for the disk, shared by all tests."""
    with fast_server() as server:
        yield server


@pytest.fixture
def dsn(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty database."""
    with fresh_database(postgres) as made:
        yield made
