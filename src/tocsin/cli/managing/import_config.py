"""``tocsin import``: makes what is missing of an exported configuration."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import PARTIAL
from tocsin.cli.faults import Failure

_LEFT = ("differs", "by hand", "refused")
_EXAMPLES = """\b
Examples:
  tocsin import tocsin-config.json --dry-run
  tocsin --profile old export --what config | tocsin --profile new import -
"""


@click.command(epilog=_EXAMPLES)
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Only say what would be made, and what differs.")
@uses_gateway
def import_config(session: Session, file: str, dry_run: bool) -> None:
    """Make what is missing of a configuration, and say what differs; nothing is changed or removed.

    FILE is what tocsin export --what config printed; - is stdin. The exit status is 9 when something is left to do by
    hand: what differs, what needs a secret, and channels, which need a password and get another id.
    """
    from tocsin.cli.client.values import json_or_stdin  # noqa: PLC0415
    from tocsin.cli.managing.config_file import checked, configuration  # noqa: PLC0415  the help does without

    document, _ = json_or_stdin(file if file == "-" else f"@{file}")
    wanted, here = checked(document), configuration(session)
    rows = []
    for what, path in (("destinations", "/api/v1/destinations"), ("categories", "/api/v1/categories")):
        rows += [_imported(session, what, path, each, here[what], dry_run=dry_run) for each in wanted[what]]
    rows += [_channel(each, here["channels"]) for each in wanted["channels"]]
    session.out.rows(rows, ("what", "name", "result", "detail"))
    left = [row for row in rows if row["result"] in _LEFT]
    if left and not dry_run:
        raise Failure(PARTIAL, f"{len(left)} of {len(rows)} are left to be done by hand; the output says what")


def _imported(
    session: Session, what: str, path: str, wanted: dict[str, Any], here: list[dict[str, Any]], *, dry_run: bool
) -> dict[str, Any]:
    """Make one thing unless it is there; return the row that tells of it."""
    from tocsin.cli.managing.config_file import secrets_in  # noqa: PLC0415  the help does without

    named = [each for each in here if each["name"] == wanted["name"]]
    row: dict[str, Any] = {"what": what, "name": wanted["name"], "result": "is there", "detail": None}
    if named:
        if wanted not in named:
            names = sorted(name for name in wanted if wanted[name] != named[0].get(name))
            row |= {"result": "differs", "detail": ", ".join(names)}
        return row
    secret = secrets_in(wanted.get("address"))
    if secret:
        return row | {"result": "by hand", "detail": f"needs {', '.join(secret)}, which no export holds"}
    if dry_run:
        return row | {"result": "would be made"}
    try:
        made = session.api.post(path, {name: value for name, value in wanted.items() if value is not None})
    except Failure as failure:
        return row | {"result": "refused", "detail": failure.message}
    row["result"] = "made"
    if "secret" in made:
        row |= {"detail": f"{made['id']}, signing secret {made['secret']}", "secret": made["secret"]}
    return row


def _channel(wanted: dict[str, Any], here: list[dict[str, Any]]) -> dict[str, Any]:
    there = any(each["name"] == wanted["name"] for each in here)
    return {
        "what": "channels",
        "name": wanted["name"],
        "result": "is there" if there else "by hand",
        "detail": None if there else f"tocsin channels create {wanted['name']}",
    }
