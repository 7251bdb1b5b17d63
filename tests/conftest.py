"""Fixtures that several directories of tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.postgres_server import PostgresServer, fast_server
from gateway import Gateway
from stores import POSTGRESQL, SQLITE, Store

ON_BOTH = ("acceptance", "dialects")
"""The folders whose tests of a gateway are run on either engine; elsewhere its store is the embedded SQLite."""

_BOTH = (SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.on_postgresql))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return three workers for two cores: tests wait half of the time, for processes to start and clocks to pass."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return (3 * cores + 1) // 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test of a gateway each engine in turn, which its id then names.

    In ``acceptance`` a test has a store, or says by ``one_store`` why it has none: nothing is left out unsaid.
    """
    definition = metafunc.definition
    folder = definition.path.relative_to(Path(__file__).parent).parts[0]
    alone = definition.get_closest_marker("one_store")
    if alone is not None:
        assert alone.args, f"{definition.nodeid}: one_store wants a reason"
        return
    if "store" not in metafunc.fixturenames:
        assert folder != "acceptance", f"{definition.nodeid} has neither a store nor the mark one_store"
    elif folder in ON_BOTH:
        metafunc.parametrize("store", _BOTH, indirect=True, scope="module")


@pytest.fixture(scope="session")
def postgres_of_gateways() -> Iterator[PostgresServer]:
    """A server that does not wait for the disk; tests of the engine, which see what others do, have their own."""
    with fast_server() as server:
        yield server


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """What the test's gateways keep things in."""
    engine = getattr(request, "param", SQLITE)
    made = Store(request.getfixturevalue("postgres_of_gateways") if engine == POSTGRESQL else None)
    yield made
    made.close()


@pytest.fixture(scope="session")
def sqlite_gateway() -> Iterator[Gateway]:
    """A gateway with default settings, on the embedded SQLite."""
    with Store(None).gateway_with({}) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql_gateway(postgres_of_gateways: PostgresServer) -> Iterator[Gateway]:
    """A gateway with default settings, on PostgreSQL."""
    with Store(postgres_of_gateways).gateway_with({}) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(request: pytest.FixtureRequest, store: Store) -> Gateway:
    """A gateway with default settings, shared by all tests that make their own organisation."""
    running: Gateway = request.getfixturevalue(f"{store.name}_gateway")
    return running
