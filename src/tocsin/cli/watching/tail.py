"""``tocsin tail``: events and deliveries as they happen."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.output import json_text, styled
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import moment_text
from tocsin.cli.exits import PARTIAL
from tocsin.cli.faults import Failure, visible
from tocsin.cli.watching.live import OPENED, Message, Stream, stream_filters, stream_query, tell_about_stream

_KINDS = ("event", "delivery")
_ROW = "{:<12}  {:<8}  {:<36}  {:<11}  {:<24}  {}"
_COLOURS = {"delivered": "green", "failed": "red", "cancelled": "magenta", "retrying": "yellow"}
_EXAMPLES = """\b
Examples:
  tocsin tail
  tocsin tail --type 'order.*' --kind event --since 10m
  tocsin tail --kind delivery | jq -r 'select(.status == "failed").event.id'
  tocsin tail --kind event --data --exec ./on-event.py
  tocsin tail --exec 'logger "$TOCSIN_EVENT_TYPE $TOCSIN_EVENT_ID"' --shell
"""


@click.command(epilog=_EXAMPLES)
@click.option("--kind", "kinds", type=click.Choice(_KINDS), multiple=True, help="What to tell of.  [default: both]")
@stream_filters
@click.option("--data", "with_data", is_flag=True, help="Events with their payload.")
@click.option("--since", metavar="WHEN", help="First the events since then, 1000 at most: 1h is an hour ago.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many rows.")
@click.option("--exec", "command", metavar="CMD", help="Run this for each row, which is JSON on its stdin.")
@click.option("--shell", is_flag=True, help="The command is a script for sh.")
@click.option(
    "--exec-timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    default=30.0,
    show_default=True,
    help="A command that takes longer is killed.",
)
@uses_gateway
def tail(
    session: Session,
    /,
    kinds: tuple[str, ...],
    with_data: bool,
    since: str | None,
    count: int | None,
    command: str | None,
    shell: bool,
    timeout_s: float,
    **filters: Any,
) -> None:
    """Show events and deliveries as they happen, until Ctrl-C.

    A table that grows on a terminal, else a JSON document a line. A connection that breaks is opened again, and goes
    on where it left off. The command of --exec gets the row's members as TOCSIN_EVENT_TYPE and so on; the exit
    status is 9 when it failed for some.
    """
    from tocsin.cli.sending.event_command import EventCommand  # noqa: PLC0415  the help does without

    query = stream_query(session, filters)
    if kinds:
        query["kinds"] = ",".join(kinds)
    if with_data:
        query["data"] = "true"
    begin = None if since is None else moment_text(since)
    runner = None if command is None else EventCommand(command, shell=shell, timeout_s=timeout_s, out=session.out)
    shown = _Shown(session, with_events=not kinds or "event" in kinds)
    for message in Stream(session, query).messages():
        for row in shown.rows_of(message, query, begin):
            shown.show(row)
            if runner is not None:
                runner.run(row)
            if shown.count == count:
                _end(runner)
                return


def _end(runner: Any) -> None:
    if runner is not None and runner.failed:
        raise Failure(PARTIAL, f"the command failed for {runner.failed}")


class _Shown:
    """What was shown so far.

    Attributes:
        count: rows.
    """

    def __init__(self, session: Session, *, with_events: bool) -> None:
        self.count = 0
        self._session = session
        self._with_events = with_events
        self._past: set[str] = set()

    def rows_of(self, message: Message, query: dict[str, str], since: str | None) -> list[dict[str, Any]]:
        """Return the rows that a message makes: at the beginning those of the past."""
        if message.name == OPENED:
            self._session.out.note("following; Ctrl-C ends it")
            return self._history(query, since) if since is not None and self._with_events else []
        if message.name not in _KINDS:
            tell_about_stream(self._session, message)
            return []
        row = {"kind": message.name, **message.data}
        if message.name == "event" and row["id"] in self._past:
            self._past.discard(row["id"])
            return []
        return [row]

    def show(self, row: dict[str, Any]) -> None:
        """Write a row, at once."""
        if self._session.out.form != "table":
            self._session.out.line(json_text(row))
        else:
            if not self.count:
                heads = ("TIME (UTC)", "KIND", "EVENT", "DIALECT", "TYPE", "WHAT")
                self._session.out.line(styled(_ROW.format(*heads), bold=True))
            self._session.out.line(_as_text(row))
        self.count += 1

    def _history(self, query: dict[str, str], since: str | None) -> list[dict[str, Any]]:
        from tocsin.cli.watching.event_history import HISTORY_MAX, past_events  # noqa: PLC0415  the help does without

        rows = past_events(self._session, query, since=since)
        self._past = {row["id"] for row in rows}
        if len(rows) == HISTORY_MAX:
            self._session.out.note(f"only the newest {HISTORY_MAX} events of the past are shown")
        return [{"kind": "event", "type": row.pop("event_type"), **row} for row in rows]


def _as_text(row: dict[str, Any]) -> str:
    if row["kind"] == "delivery":
        event, at = row["event"], row["finished_at"] or (row.get("attempt") or {}).get("started_at")
        told = " ".join(str(part) for part in (row["status"], row["status_code"], row["error"]) if part is not None)
        what = f"{visible(told)} -> {visible(row['destination']['name'] or row['destination']['id'])}"
        what = styled(what, colour=_COLOURS.get(row["status"]))
    else:
        event, at, what = row, row["created_at"], row.get("severity") or row.get("status") or ""
    cells = (
        str(at or "")[11:23],
        row["kind"],
        event["id"],
        event.get("dialect") or "-",
        visible(event["type"]),
        what,
    )
    return _ROW.format(*cells)
