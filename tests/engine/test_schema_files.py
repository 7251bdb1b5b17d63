"""Migrations run once and in order; statements are found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.engine import migrations
from tocsin.engine.migrations import Migration, pending
from tocsin.engine.postgres import sql
from tocsin.engine.sqlite.sql import SQL
from tocsin.engine.statements import Statements, UnknownStatement

STEPS = [Migration(number, f"step {number}", "text", f"sum {number}") for number in (1, 2, 3)]


@pytest.mark.parametrize("engine", ["postgres", "sqlite"])
def test_migrations_are_numbered_without_gaps_and_have_checksums(engine: str) -> None:
    steps = migrations.load(engine)
    assert [each.number for each in steps] == list(range(1, len(steps) + 1))
    assert len({each.checksum for each in steps}) == len(steps)


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_what_was_not_applied_is_pending(done: int) -> None:
    applied = {each.number: each.checksum for each in STEPS[:done]}
    assert pending(STEPS, applied) == STEPS[done:]


def test_a_newer_store_is_refused() -> None:
    with pytest.raises(ValueError, match="version 4, this program knows 3"):
        pending(STEPS, {number: f"sum {number}" for number in (1, 2, 3, 4)})


@pytest.mark.parametrize("applied", [{1: "other"}, {1: "sum 1", 2: "other"}, {2: "sum 2"}])
def test_an_applied_migration_that_was_edited_is_refused(applied: dict[int, str]) -> None:
    with pytest.raises(ValueError, match="applied with another text"):
        pending(STEPS, applied)


def test_a_statement_that_is_not_there_is_not_found() -> None:
    with pytest.raises(UnknownStatement):
        SQL["no such statement"]


def test_rows_and_marks_are_repeated() -> None:
    assert SQL.many("insert_attempts", 2).endswith("values (?,?,?),(?,?,?)")
    assert "where id in (?,?,?)" in SQL.many("events_by_id", 3)


@pytest.mark.parametrize("statements", [sql.SQL, SQL], ids=["postgres", "sqlite"])
def test_no_statement_is_left_behind(statements: Statements) -> None:
    assert all(text and not text.endswith(";") for text in map(statements.__getitem__, statements.names()))


@pytest.mark.parametrize(("engine", "statements"), [("postgres", sql.SQL), ("sqlite", SQL)])
def test_every_statement_is_run_somewhere(engine: str, statements: Statements) -> None:
    folder = Path(migrations.__file__).parent.parent / engine
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    # Those are named by what they look between.
    names = (name for name in statements.names() if not name.endswith("_between"))
    assert [name for name in names if f'"{name}"' not in text] == []
