"""``tocsin listen``: events on this machine, as webhooks."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.output import json_text, styled
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import PARTIAL, USAGE
from tocsin.cli.faults import Failure, visible
from tocsin.cli.watching.live import OPENED, Stream, stream_filters, stream_query, tell_about_stream

_EXAMPLES = """\b
Examples:
  tocsin listen --forward-to http://localhost:3000/hooks
  tocsin listen --forward-to localhost:3000/hooks --type 'order.*' --replay 5
  export WEBHOOK_SECRET=$(tocsin listen --print-secret)
"""


@click.command(epilog=_EXAMPLES)
@click.option("--forward-to", "url", metavar="URL", help="Where to send every event, with POST.")
@stream_filters
@click.option(
    "--replay", "past", type=click.IntRange(0, 1000), metavar="N", default=0, help="First the last N events."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many.")
@click.option("--print-secret", is_flag=True, help="Print the signing secret, and end.")
@click.option(
    "--timeout-s",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    default=30.0,
    show_default=True,
    help="How long an answer may take.",
)
@uses_gateway
def listen(
    session: Session,
    /,
    url: str | None,
    past: int,
    count: int | None,
    print_secret: bool,
    timeout_s: float,
    **filters: Any,
) -> None:
    """Forward events to a program on this machine, as signed webhooks, until Ctrl-C.

    It follows the gateway's stream, so that the gateway need not reach this machine, and nothing is set up there.
    Requests are signed as Standard Webhooks has it, with a secret of this machine's own (or TOCSIN_SIGNING_SECRET).
    They carry the event's payload, byte for byte, and go one after another; one that fails is not repeated. The exit
    status is 9 when some of --count failed.
    """
    from tocsin.cli.watching.forwarding import Forwarder, kept_secret  # noqa: PLC0415  the help does without

    secret = kept_secret()
    if print_secret:
        session.out.line(secret)
        return
    if url is None:
        raise Failure(USAGE, "where to? --forward-to http://localhost:3000/hooks")
    forwarder = Forwarder(url, secret, timeout_s=timeout_s)
    query = stream_query(session, filters) | {"kinds": "event", "data": "raw"}
    shown = _Forwarded(session, forwarder)
    for message in Stream(session, query).messages():
        if message.name == OPENED:
            session.out.note(f"forwarding to {forwarder.url}; the signing secret: tocsin listen --print-secret")
            shown.send_past(query, past)
        elif message.name == "event":
            shown.send(message.data)
        else:
            tell_about_stream(session, message)
        if count is not None and shown.count >= count:
            break
    if shown.failed:
        raise Failure(PARTIAL, f"{shown.failed} of {shown.count} were not taken")


class _Forwarded:
    """What was forwarded so far.

    Attributes:
        count: events.
        failed: of these, without an answer of 200 to 299.
    """

    def __init__(self, session: Session, forwarder: Any) -> None:
        self.count = 0
        self.failed = 0
        self._session = session
        self._forwarder = forwarder
        self._past: set[str] = set()

    def send_past(self, query: dict[str, str], wanted: int) -> None:
        """Send the last events of the history, oldest first."""
        from tocsin.cli.client.api import Api, segment  # noqa: PLC0415  the help does without
        from tocsin.cli.watching.event_history import past_events  # noqa: PLC0415
        from tocsin.cli.watching.forwarding import Content  # noqa: PLC0415

        if not wanted:
            return
        rows = past_events(self._session, query, count=wanted)
        self._past = {row["id"] for row in rows}
        with Api(self._session.api.base_url, self._session.api.key) as api:
            for row in rows:
                answer = api.send("GET", f"/api/v1/events/{segment(row['id'])}/data")
                # Its time to be kept may have ended between the two requests.
                if answer.status != 404:
                    self._send(row, Content(api.checked(answer).body, answer.headers["content-type"]))

    def send(self, event: dict[str, Any]) -> None:
        """Send an event of the stream, unless it was one of the last."""
        if event["id"] in self._past:
            self._past.discard(event["id"])
        else:
            from tocsin.cli.watching.forwarding import content_of  # noqa: PLC0415  the help does without

            self._send(event, content_of(event))

    def _send(self, event: dict[str, Any], content: Any) -> None:
        from tocsin.cli.watching.forwarding import row_of  # noqa: PLC0415  the help does without

        out = self._session.out
        kind = visible(str(event.get("type") or event.get("event_type")))
        if out.form == "table":
            out.line(f"--> {event['id']}  {kind}  {len(content.body)} bytes")
        reply = self._forwarder.send(event["id"], content)
        fine = reply.status is not None and 200 <= reply.status < 300
        self.count += 1
        self.failed += not fine
        if out.form == "table":
            told = styled(visible(str(reply.error or reply.status)), colour="green" if fine else "red")
            out.line(f"<-- {event['id']}  {told}  {reply.elapsed_ms:.0f} ms")
        else:
            out.line(json_text(row_of(event, reply)))
