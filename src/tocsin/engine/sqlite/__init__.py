"""The engine on one SQLite file: the embedded default."""

from tocsin.engine.sqlite.engine import SqliteEngine, SqliteSettings

__all__ = ["SqliteEngine", "SqliteSettings"]
