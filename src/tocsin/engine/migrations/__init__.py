"""Forward-only schema changes, checked by checksum so that an applied one is never edited."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import msgspec


class Migration(msgspec.Struct, frozen=True):
    """One step.

    Attributes:
        number: from 1, without gaps.
        checksum: SHA-256 of the text, hex.
    """

    number: int
    name: str
    text: str
    checksum: str


def load(engine: str) -> list[Migration]:
    """Return an engine's migrations in order.

    Args:
        engine: the folder's name, ``sqlite``.
    """
    found = []
    for entry in files("tocsin.engine.migrations").joinpath(engine).iterdir():
        if entry.name.endswith(".sql"):
            text = entry.read_text("utf-8")
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, text, hashlib.sha256(text.encode()).hexdigest()))
    found.sort(key=lambda each: each.number)
    assert [each.number for each in found] == list(range(1, len(found) + 1))
    return found


def pending(migrations: list[Migration], applied: dict[int, str]) -> list[Migration]:
    """Return the migrations still to run.

    Args:
        applied: checksum by number, as the store recorded them.

    Raises:
        ValueError: the store is newer than this program, or an applied migration was edited.
    """
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise ValueError(
            f"its schema has version {newest}, this program knows {len(migrations)}: it was written by a newer Tocsin"
        )
    for migration in migrations[:newest]:
        if applied.get(migration.number) != migration.checksum:
            raise ValueError(f"migration {migration.number} was applied with another text than this program's")
    return migrations[newest:]
