"""``tocsin run``: an incident around a command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from typing import Any

import click

from tocsin.cli.client.secret_input import channel_password, password_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.faults import Failure
from tocsin.cli.sending.event import SEVERITIES

_TAIL_BYTES = 8192
_TITLE_CHARACTERS_MAX = 256
_MESSAGE_CHARACTERS_MAX = 512
_EXAMPLES = """\b
Examples:
  tocsin run --channel 06AQ... -- ./backup.sh --full
  tocsin run --channel 06AQ... --name nightly --title "Nightly backup" --tail 50 -- ./backup.sh
  0 3 * * *  tocsin --profile home run --channel 06AQ... --password-file ~/.channel -- ./backup.sh
"""


@click.command(epilog=_EXAMPLES, context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="-- COMMAND", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--channel", required=True, metavar="ID", help="The channel that is told.")
@password_option
@click.option("--name", metavar="TEXT", help="Makes it one, whatever its arguments.  [default: the command line]")
@click.option("--title", metavar="TEXT", help="Of the incident.  [default: the name, or the program, and 'fails']")
@click.option("--severity", type=click.Choice(SEVERITIES), default="high", show_default=True)
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option(
    "--tail",
    "tail_lines",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="Lines of output that are told.",
)
@uses_gateway
def run(
    session: Session,
    command: tuple[str, ...],
    channel: str,
    password_file: str | None,
    name: str | None,
    title: str | None,
    severity: str,
    tags: tuple[str, ...],
    tail_lines: int,
) -> None:
    """Run a command, with an incident that opens when it fails and closes when it next succeeds.

    A failure while the incident is open updates it. Output and signals go through, and the exit status is the
    command's own, whether or not the gateway could be told; what it was not told it is told by the next run. The
    gateway is not asked before the command has ended. Ended by Ctrl-C, it is not told.
    """
    from tocsin.cli.sending.supervised import supervise  # noqa: PLC0415  the help does without

    password = channel_password(password_file)
    ended = supervise(command, tail_lines=tail_lines, tail_bytes=_TAIL_BYTES)
    if not ended.by_keyboard:
        shown = name or os.path.basename(command[0])  # noqa: PTH119  a name only
        body: dict[str, Any] = {
            "channel_id": channel,
            "title": (title or f"{shown} fails")[:_TITLE_CHARACTERS_MAX],
            "message": _message(ended.status, ended.duration_s, ended.tail),
            "severity": severity,
            "event_time": time.time_ns() // 1_000_000,
            "attrs": {
                "exit_status": ended.status,
                "duration_s": round(ended.duration_s, 3),
                "host": platform.node() or "unknown",
            },
        }
        if tags:
            body["tags"] = list(tags)
        if ended.tail:
            body["description"] = ended.tail
        identity = (session.api.base_url, channel, name or shlex.join(command))
        try:
            _tell(session, password, body, identity, failed=ended.status != 0)
        except Failure as failure:
            session.out.warn(f"the gateway could not be told that the command ended with {ended.status}: {failure}")
    sys.stdout.flush()
    click.get_current_context().exit(ended.status)


def _tell(session: Session, password: str, body: dict[str, Any], identity: tuple[str, ...], *, failed: bool) -> None:
    """Open, update or close the command's incident; nothing where it succeeds and none is open.

    Raises:
        Failure: the gateway does not answer, or refuses.
    """
    from tocsin.cli.sending.incident_record import incident_record  # noqa: PLC0415

    with incident_record(*identity) as record:
        record.catch_up(session.api, password)
        if not failed:
            if record.event_id is not None:
                closed = record.event_id
                record.post(session.api, password, "close", {**body, "status": "recovered"})
                session.out.note(f"incident {closed} is closed")
            return
        body = {**body, "status": "failing"}
        if record.event_id is not None:
            record.post(session.api, password, "update", body)
            if record.event_id is not None:
                session.out.note(f"incident {record.event_id} is updated")
                return
            # Somebody closed it by hand: this failure is a new incident.
        record.post(session.api, password, "create", body)
        session.out.note(f"incident {record.event_id} is open")


def _message(status: int, duration_s: float, tail: str) -> str:
    last = tail.rpartition("\n")[2].strip()
    text = f"exit status {status} after {duration_s:.1f} s" + (f": {last}" if last else "")
    return text[:_MESSAGE_CHARACTERS_MAX]
