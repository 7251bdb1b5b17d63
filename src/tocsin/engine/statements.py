"""Named SQL: each file of ``sql/`` holds blocks headed ``-- name: ...``, read once at import of its engine."""

from __future__ import annotations

from importlib.resources import files


class UnknownStatement(KeyError):
    """No block of that name."""


class Statements:
    """The blocks of one engine's files.

    Args:
        file_names: within ``tocsin/engine/sql``.
    """

    def __init__(self, *file_names: str) -> None:
        self._blocks: dict[str, str] = {}
        self._many: dict[tuple[str, int], str] = {}
        folder = files("tocsin.engine").joinpath("sql")
        text = "\n".join(folder.joinpath(each).read_text("utf-8") for each in file_names)
        for block in text.split("-- name: ")[1:]:
            name, _, body = block.partition("\n")
            lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
            self._blocks[name.strip()] = "\n".join(lines).strip().rstrip(";")

    def __getitem__(self, name: str) -> str:
        """Return the statement of this name."""
        try:
            return self._blocks[name]
        except KeyError:
            raise UnknownStatement(name) from None

    def names(self) -> list[str]:
        """Return the names of all statements."""
        return list(self._blocks)

    def many(self, name: str, count: int) -> str:
        """Return the statement with its one ``{rows}`` or ``{marks}`` repeated.

        ``{rows:N}`` becomes ``count`` groups of N placeholders, ``{marks}`` becomes ``count`` placeholders.
        """
        found = self._many.get((name, count))
        if found is None:
            found = _expanded(self[name], count)
            self._many[name, count] = found
        return found


def _expanded(text: str, count: int) -> str:
    if "{marks}" in text:
        return text.replace("{marks}", ",".join("?" * count))
    head, _, rest = text.partition("{rows:")
    width, _, tail = rest.partition("}")
    group = "(" + ",".join("?" * int(width)) + ")"
    return head + ",".join([group] * count) + tail
