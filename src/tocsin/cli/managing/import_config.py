"""``tocsin import``: makes what is missing of an exported configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import PARTIAL
from tocsin.cli.faults import Failure

if TYPE_CHECKING:
    from tocsin.cli.managing.config_making import Make

_LEFT = ("differs", "by hand", "refused")
_NEEDS = "needs {}, which no export holds"
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
    hand: what differs, what needs a secret, and channels, which need a password and get another id. An endpoint gets
    another id too, and each destination another signing secret: the output has them. API keys, the plan and the
    gateway's settings are in no such file.
    """
    from tocsin.cli.client.values import json_or_stdin  # noqa: PLC0415
    from tocsin.cli.managing.config_file import checked, configuration  # noqa: PLC0415  the help does without
    from tocsin.cli.managing.config_making import MAKERS  # noqa: PLC0415

    document, _ = json_or_stdin(file if file == "-" else f"@{file}")
    wanted, here = checked(document), configuration(session)
    rows = []
    for what, make in MAKERS.items():
        rows += [_imported(session, what, make, each, here[what], dry_run=dry_run) for each in wanted[what]]
    rows += _contacts(session, wanted["account"], here["account"], dry_run=dry_run)
    rows += [_channel(each, here["channels"]) for each in wanted["channels"]]
    session.out.rows(rows, ("what", "name", "result", "detail"))
    left = [row for row in rows if row["result"] in _LEFT]
    if left and not dry_run:
        raise Failure(PARTIAL, f"{len(left)} of {len(rows)} are left to be done by hand; the output says what")


def _imported(
    session: Session, what: str, make: Make, wanted: dict[str, Any], here: list[dict[str, Any]], *, dry_run: bool
) -> dict[str, Any]:
    """Make one thing unless it is there; return the row that tells of it."""
    from tocsin.cli.managing.config_file import secrets_in  # noqa: PLC0415  the help does without

    named = [each for each in here if each["name"] == wanted["name"]]
    row: dict[str, Any] = {"what": what, "name": wanted["name"], "result": "is there", "detail": None}
    if named:
        if not any(_is_as(wanted, each) for each in named):
            names = sorted(name for name in wanted if wanted[name] != named[0].get(name))
            row |= {"result": "differs", "detail": ", ".join(names)}
        return row
    secret = secrets_in({name: wanted[name] for name in ("address", "headers") if name in wanted})
    if secret:
        return row | {"result": "by hand", "detail": _NEEDS.format(", ".join(secret))}
    if dry_run:
        return row | {"result": "would be made"}
    try:
        made = make(session, wanted)
    except Failure as failure:
        return row | {"result": "refused", "detail": failure.message}
    row["result"] = "made"
    if "secret" in made:
        row |= {"detail": f"{made['id']}, signing secret {made['secret']}", "secret": made["secret"]}
    return row


def _is_as(wanted: dict[str, Any], there: dict[str, Any]) -> bool:
    """Return whether a thing is as the document has it, which may have been written before it had all of them."""
    return all(name in there and there[name] == value for name, value in wanted.items())


def _contacts(
    session: Session, wanted: dict[str, Any], here: dict[str, Any], *, dry_run: bool
) -> list[dict[str, Any]]:
    """Add to the account the ways to people that it lacks; return a row for each that is wanted."""
    from tocsin.cli.managing.config_file import secrets_in  # noqa: PLC0415  the help does without
    from tocsin.cli.managing.config_making import put_contacts  # noqa: PLC0415

    rows = []
    missing = []
    for name in [name for name in wanted if any(wanted[name].values())]:
        row: dict[str, Any] = {"what": "account", "name": name, "result": "is there", "detail": None}
        secret = secrets_in(wanted[name], name)
        if any(here[name].values()):
            if wanted[name] != here[name]:
                members = sorted(set(wanted[name]) | set(here[name]))
                names = [each for each in members if wanted[name].get(each) != here[name].get(each)]
                row |= {"result": "differs", "detail": ", ".join(names)}
        elif secret:
            row |= {"result": "by hand", "detail": _NEEDS.format(", ".join(secret))}
        else:
            row["result"] = "would be made"
            missing.append(row)
        rows.append(row)
    if missing and not dry_run:
        told: dict[str, Any] = {"result": "made"}
        try:
            put_contacts(session, here, {row["name"]: wanted[row["name"]] for row in missing})
        except Failure as failure:
            told = {"result": "refused", "detail": failure.message}
        for each in missing:
            each.update(told)
    return rows


def _channel(wanted: dict[str, Any], here: list[dict[str, Any]]) -> dict[str, Any]:
    there = any(each["name"] == wanted["name"] for each in here)
    return {
        "what": "channels",
        "name": wanted["name"],
        "result": "is there" if there else "by hand",
        "detail": None if there else f"tocsin channels create {wanted['name']}",
    }
