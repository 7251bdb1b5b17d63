"""The PostgreSQL engine keeps the engine's contract."""

from __future__ import annotations

import pytest

from engine.postgres_server import postgres_factory
from tocsin.testing.engine_contract import EngineContract, EngineFactory


class TestPostgresEngine(EngineContract):
    @pytest.fixture
    def engine_factory(self, dsn: str) -> EngineFactory:
        return postgres_factory(dsn)
