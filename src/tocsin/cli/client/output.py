"""Output: data on stdout, as a table for people or as JSON for machines; chatter on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from tocsin.cli.faults import UNSHOWN, visible

_UNSAFE = re.compile(f"[{UNSHOWN}]")
_UNBOUNDED_COLUMNS = 100_000


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON that any terminal shows and any locale can write."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=str)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def styled(text: str, *, colour: str | None = None, bold: bool = False) -> str:
    """Return a text in a colour or bold, unless ``NO_COLOR`` is set; ``line`` strips it where no terminal reads."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=bold or None)


def one_line(document: bytes) -> str:
    """Return a JSON document on one line, otherwise as it was sent: decoding it could change its numbers.

    Between its tokens a line end is white space, and within a text it cannot stand.
    """
    text = document.decode("utf-8", "replace").replace("\r", " ").replace("\n", " ")
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


class Printer:
    """Writes what a command found.

    Args:
        form: ``table``, ``json``, ``ndjson``, or None: a table on a terminal, else ndjson.
        quiet: whether notes are left out.
    """

    def __init__(self, form: str | None = None, *, quiet: bool = False) -> None:
        self._is_asked_for = form is not None
        self.form = form or ("table" if sys.stdout.isatty() else "ndjson")
        self.quiet = quiet

    def rows(self, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> int:
        """Write rows; return how many.

        Args:
            rows: with ``ndjson`` each is written as it comes, else all at the end.
            columns: those of the table, in their order; JSON always has every member. None is those of the first.
        """
        if self.form == "ndjson":
            count = 0
            for row in rows:
                count += 1
                self.line(json_text(row))
            return count
        listed = list(rows)
        if self.form == "json":
            self.line(json_text(listed, indent=2))
        elif listed:
            names = list(columns) if columns is not None else list(listed[0])
            self._table(names, [[row.get(name) for name in names] for row in listed])
        else:
            self.note("nothing found")
        return len(listed)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write one object: in a table, a line for each member."""
        if self.form == "table":
            self._table(None, [[name, value] for name, value in record.items()])
        else:
            self.line(json_text(record, indent=2 if self.form == "json" else None))

    def value(self, record: Mapping[str, Any], name: str) -> None:
        """Write one object; where no form was asked for, only this member of it, bare, for ``$(...)``."""
        if self._is_asked_for:
            self.record(record)
        else:
            self.line(str(record[name]))

    def line(self, text: str) -> None:
        """Write a line of data, at once."""
        click.echo(text)

    def note(self, text: str) -> None:
        """Tell a person something that is no data."""
        if not self.quiet:
            click.echo(visible(text), err=True)

    def warn(self, text: str) -> None:
        """Tell what went wrong and does not end the command; told even when quiet."""
        click.echo(f"tocsin: {visible(text)}", err=True)

    def _table(self, names: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> None:
        from rich.console import Console  # noqa: PLC0415  slow to load, and only tables need it
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, show_header=names is not None, pad_edge=False, header_style="bold cyan")
        for name in names or ("", ""):
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*(Text(_cell(value)) for value in row))
        width = None if sys.stdout.isatty() else _UNBOUNDED_COLUMNS
        console = Console(width=width, highlight=False, markup=False, emoji=False)
        # Written by us: who reads it may have gone, and the library would end the program in its own way.
        with console.capture() as drawn:
            console.print(table)
        click.echo(drawn.get(), nl=False)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return visible(value)
    return json_text(value)
