"""``tocsin migrate``: a gateway's data from the embedded SQLite into a PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import FAILED, STORE, USAGE
from tocsin.cli.faults import Failure

if TYPE_CHECKING:
    from tocsin.settings import Settings

_EXAMPLES = """\b
Examples:
  tocsin migrate --from sqlite:tocsin-data --to postgresql://tocsin@db/tocsin
  TOCSIN_DATABASE=postgresql://tocsin:PASSWORD@db/tocsin tocsin migrate --from sqlite:/var/lib/tocsin
"""

_SCHEME = "sqlite:"
_VERBS = {"copy": "copied", "compare": "compared"}


@click.command(epilog=_EXAMPLES)
@click.option(
    "--from", "source", metavar="sqlite:DIR", required=True, help="Data directory of a gateway that is stopped."
)
@click.option(
    "--to",
    "target",
    metavar="URL",
    help="Empty PostgreSQL database; with a password, name it in TOCSIN_DATABASE instead.",
)
@uses_output
def migrate(out: Printer, source: str, target: str | None) -> None:
    """Move a stopped gateway's data from SQLite into an empty PostgreSQL, and compare both; goes on when run again.

    The source is only read. Each table is told with its rows and a hash of them; the exit status is 0 only if all
    are equal.
    """
    from tocsin.bootstrap.migrating import has_key_file, move  # noqa: PLC0415  imports the whole program
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    try:
        settings = _settings(source, target)
        with _progress(out) as advance:
            compared = asyncio.run(move(settings, advance))
    except SettingsFault as error:
        raise Failure(USAGE, str(error)) from error
    except EngineRefused as error:
        raise Failure(STORE, str(error)) from error
    out.rows({"table": each.table, "rows": each.rows, "hash": each.hash, "equal": each.is_equal} for each in compared)
    wrong = [f"{each.table} ({each.rows_there} of {each.rows} rows)" for each in compared if not each.is_equal]
    if wrong:
        raise Failure(
            FAILED,
            f"what is in the database differs in {', '.join(wrong)}; something else wrote there, or to the source: "
            "begin anew with an empty database",
        )
    _tell_what_is_next(out, settings.values.data, has_key_file(settings))


def _settings(source: str, target: str | None) -> Settings:
    from tocsin.bootstrap import load_settings  # noqa: PLC0415  imports the whole program
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415

    if not source.startswith(_SCHEME) or source == _SCHEME:
        raise Failure(USAGE, f"--from {source}: must be sqlite: and the data directory, as in sqlite:tocsin-data")
    forget_client_variables()
    settings = load_settings(data=Path(source.removeprefix(_SCHEME)), database=target)
    if settings.values.database is None:
        raise Failure(USAGE, "no target; name it with --to, or in TOCSIN_DATABASE")
    return settings


def _tell_what_is_next(out: Printer, data: Path, has_key: bool) -> None:
    out.note("all of it is there; start gateways with --database, and none on the old data any more")
    if has_key:
        out.note(f"they need the same key: set TOCSIN_SECRET_KEY to what is in {data / 'secret.key'}")
    else:
        out.note("they need the same key: set TOCSIN_SECRET_KEY as it was until now")


@contextlib.contextmanager
def _progress(out: Printer) -> Iterator[Callable[[str, str, int, int], None]]:
    if out.quiet:
        yield lambda _step, _table, _done, _total: None
        return
    if not sys.stderr.isatty():
        yield _lines(out)
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress, TaskID  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[tuple[str, str], TaskID] = {}

        def advance(step: str, table: str, done: int, total: int) -> None:
            if (step, table) not in tasks:
                tasks[step, table] = progress.add_task(f"{_VERBS[step]} {table}", total=total)
            progress.update(tasks[step, table], completed=done, total=total)

        yield advance


def _lines(out: Printer) -> Callable[[str, str, int, int], None]:
    """Return what tells of progress in lines, ten of a table at the most."""
    told: dict[tuple[str, str], int] = {}

    def advance(step: str, table: str, done: int, total: int) -> None:
        tenths = 10 * done // total if total else 10
        if tenths > told.get((step, table), 0):
            told[step, table] = tenths
            out.note(f"{_VERBS[step]} {table}: {10 * tenths} %")

    return advance
