"""The engine on one PostgreSQL server: several processes and machines share the store."""

from tocsin.engine.postgres.engine import PostgresEngine
from tocsin.engine.postgres.settings import PostgresSettings

__all__ = ["PostgresEngine", "PostgresSettings"]
