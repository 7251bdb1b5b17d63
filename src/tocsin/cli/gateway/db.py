"""``tocsin db``: what is done to a PostgreSQL while no gateway uses it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import STORE, USAGE
from tocsin.cli.faults import Failure
from tocsin.core.identifiers import BUCKETS

if TYPE_CHECKING:
    from tocsin.settings import Settings

SHARDS = 8
"""Each is asked on its own for work, and no more workers than that help."""

_EXAMPLES = """\b
Examples:
  tocsin db distribute --database postgresql://tocsin@coordinator/tocsin --dry-run
"""
_DISTRIBUTE_EXAMPLES = """\b
Examples:
  tocsin db distribute --database postgresql://tocsin@coordinator/tocsin --dry-run
  TOCSIN_DATABASE=postgresql://tocsin:PASSWORD@coordinator/tocsin tocsin db distribute --shards 16
"""


@click.group(epilog=_EXAMPLES)
def db() -> None:
    """Look after a PostgreSQL while no gateway uses it: distribute it over a Citus cluster."""


@db.command(epilog=_DISTRIBUTE_EXAMPLES)
@click.option(
    "--database",
    metavar="URL",
    help="PostgreSQL database on the cluster's coordinator; with a password, name it in TOCSIN_DATABASE instead.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, BUCKETS),
    default=SHARDS,
    show_default=True,
    metavar="N",
    help="Shards of each table: as many workers as will ever be wanted, or some more.",
)
@click.option("--dry-run", is_flag=True, help="Check, and print the statements that would be run.")
@uses_output
def distribute(out: Printer, database: str | None, shards: int, dry_run: bool) -> None:
    """Distribute the database over the workers of its Citus cluster, with what is in it.

    Every gateway and dispatcher must be stopped. All is done in one transaction: either each table is distributed, or
    none. Run again, it tidies up what was broken off after that, and changes nothing else.
    """
    from tocsin.bootstrap import distributing  # noqa: PLC0415  imports the whole program
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    try:
        settings = _settings(database)
        if dry_run:
            _show(out, asyncio.run(distributing.planned(settings, shards=shards)))
            return
        done = asyncio.run(
            distributing.distribute(
                settings,
                shards=shards,
                advance=lambda table, count, of: out.note(f"distributed {table}, {count} of {of} tables"),
            )
        )
    except SettingsFault as error:
        raise Failure(USAGE, str(error)) from error
    except EngineRefused as error:
        raise Failure(STORE, str(error)) from error
    out.rows({"table": each.table, "rows": each.rows, "was_distributed": each.was_before} for each in done)
    out.note("all of it is distributed; start gateways and dispatchers with the same --database")


def _settings(database: str | None) -> Settings:
    from tocsin.bootstrap import load_settings  # noqa: PLC0415  imports the whole program
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415

    forget_client_variables()
    settings = load_settings(database=database)
    if settings.values.database is None:
        raise Failure(USAGE, "no database; name it with --database, or in TOCSIN_DATABASE")
    return settings


def _show(out: Printer, statements: list[str]) -> None:
    if out.form == "table":
        for statement in statements:
            out.line(f"{statement};")
    else:
        out.rows({"statement": statement} for statement in statements)
