"""The SQLite engine keeps the engine's contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.sqlite_store import sqlite_factory
from tocsin.testing.engine_contract import EngineContract, EngineFactory


def test_no_test_of_the_contract_hides_another() -> None:
    names = [name for part in EngineContract.__bases__ for name in vars(part) if name.startswith("test_")]
    assert len(names) == len(set(names))
    assert len(names) > 150


class TestSqliteEngine(EngineContract):
    @pytest.fixture
    def engine_factory(self, tmp_path: Path) -> EngineFactory:
        return sqlite_factory(tmp_path)
