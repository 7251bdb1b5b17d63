"""``tocsin init``: create the data and print the first keys."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from tocsin.cli.exits import STORE, USAGE
from tocsin.cli.gateway.options import fail, store_options

_EXAMPLES = """\b
Examples:
  tocsin init --data ./tocsin-data
  tocsin init --data ./tocsin-data --json | jq -r .api_key
  tocsin init --data ./tocsin-data --new-key   # when the first ones are lost
"""


@click.command(epilog=_EXAMPLES)
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--new-key", is_flag=True, help="On data that exist already: make further keys, and print those.")
def init(data: Path | None, database: str | None, as_json: bool, new_key: bool) -> None:
    """Create the data and print the organisation's key and the operator's, once."""
    from tocsin.bootstrap import initialise, load_settings, shared_database  # noqa: PLC0415  imports the whole program
    from tocsin.cli.gateway.logs import configure_logs  # noqa: PLC0415
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.core.identifiers import prefixed  # noqa: PLC0415
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    forget_client_variables()
    try:
        settings = load_settings(data=data, database=database)
        # This command says itself what it did; only trouble is logged.
        configure_logs("warning", settings.values.log_format)
        keys = asyncio.run(initialise(settings, new_keys=new_key))
    except SettingsFault as error:
        fail(USAGE, str(error))
    except EngineRefused as error:
        fail(STORE, str(error))
    database = shared_database(settings)
    place = str(settings.values.data) if database is None else database
    if keys is None:
        fail(USAGE, f"{place} is initialised already; its keys were shown then. --new-key makes further ones.")
    shown = {
        "organisation_id": prefixed("org", keys.organisation_id),
        "api_key": keys.api_key,
        "operator_key": keys.operator_key,
        "data" if database is None else "database": place,
    }
    if as_json:
        click.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        click.echo(f"{name:16} {value}")
    given = f"--data {place}" if database is None else "with the same TOCSIN_DATABASE and TOCSIN_SECRET_KEY"
    click.echo(f"The keys are shown only now. Start with: tocsin serve {given}", err=True)
