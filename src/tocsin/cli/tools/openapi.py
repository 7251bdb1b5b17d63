"""``tocsin openapi``: the description of the API, without a gateway."""

from __future__ import annotations

import click

from tocsin.cli.client.output import Printer
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

_EXAMPLES = """\b
Examples:
  tocsin openapi > openapi.json
  tocsin openapi | jq -r '.paths | keys[]'
"""


@click.command(epilog=_EXAMPLES)
@uses_output
def openapi(out: Printer) -> None:
    """Print the OpenAPI document of every route, as these settings make it; no gateway needs to run."""
    from tocsin.bootstrap import load_settings  # noqa: PLC0415  imports the whole program
    from tocsin.bootstrap.reference import openapi_document  # noqa: PLC0415
    from tocsin.cli.client.output import json_text  # noqa: PLC0415
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    forget_client_variables()
    try:
        document = openapi_document(load_settings())
    except SettingsFault as error:
        raise Failure(USAGE, str(error)) from error
    out.line(json_text(document, indent=None if out.form == "ndjson" else 2))
