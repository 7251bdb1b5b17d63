"""``tocsin backup``: a copy of the data, while the gateway runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import STORE, USAGE
from tocsin.cli.faults import Failure

_EXAMPLES = """\b
Examples:
  tocsin backup /backups/tocsin-2026-03-06
  tocsin backup /backups/now --data /var/lib/tocsin
  tocsin serve --data /backups/now          # restores it: a copy is a data directory
"""


@click.command(epilog=_EXAMPLES)
@click.argument("to", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of the embedded database.  [default: as serve has it]",
)
@uses_output
def backup(out: Printer, to: Path, data: Path | None) -> None:
    """Copy the data to a new directory, while the gateway runs or not, and check the copy.

    It holds every event that was acknowledged before this command began. The key that seals secrets goes along.
    """
    from tocsin.bootstrap import load_settings, shared_database  # noqa: PLC0415  imports the whole program
    from tocsin.bootstrap.backup import back_up  # noqa: PLC0415
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    if to.exists():
        raise Failure(USAGE, f"{to} exists; a backup makes its directory itself, so that it overwrites nothing")
    forget_client_variables()
    try:
        settings = load_settings(data=data)
        _check_embedded(shared_database(settings) if data is None else None)
        with _bar(out) as advance:
            made = back_up(settings, to, advance)
    except SettingsFault as error:
        raise Failure(USAGE, str(error)) from error
    except EngineRefused as error:
        raise Failure(STORE, str(error)) from error
    out.record({"to": str(made.to), "events": made.events, "bytes": made.bytes, "has_secret_key": made.has_key})
    if made.has_key:
        out.note(f"{made.to} holds the key to the stored secrets: keep it as you keep those")
    else:
        out.note("the key to the stored secrets is a setting (TOCSIN_SECRET_KEY) and not in the copy; keep it, too")


def _check_embedded(database: str | None) -> None:
    if database is not None:
        raise Failure(
            USAGE,
            f"a backup is of the embedded database, and the data are in {database}; copy that with: pg_dump "
            "--format=custom --file=tocsin.dump, and keep TOCSIN_SECRET_KEY elsewhere (docs/operations.md)",
        )


@contextlib.contextmanager
def _bar(out: Printer) -> Iterator[Callable[[int, int], None]]:
    if out.quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("copying", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
