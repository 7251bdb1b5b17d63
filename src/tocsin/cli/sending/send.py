"""``tocsin send``: a categorised event, as PingPilot takes it."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import pairs, text_or_stdin
from tocsin.cli.exits import PARTIAL

_ANSWER_SLACK_S = 30.0
_EXAMPLES = """\b
Examples:
  tocsin send -c bug -d "Checkout fails" -f service=api -f retries=3
  tail -5 app.log | tocsin send -c bug -d -
  tocsin send -c sale -f amount=99.9 --wait 10 && echo told
  tocsin send -c sale -f order=ORD-1 --idempotency-key ORD-1
"""


@click.command(epilog=_EXAMPLES)
@click.option("-c", "--category", required=True, help="The category.")
@click.option("-d", "--description", metavar="TEXT", help="What happened; - is stdin.")
@click.option(
    "-f",
    "--field",
    "fields",
    metavar="NAME=VALUE",
    multiple=True,
    help="A field; a number or true or false is one, in quotes ('\"3\"') a text. May be repeated.",
)
@click.option("--wait", "wait_s", type=click.FloatRange(0, 30), metavar="S", help="Wait for the first attempts.")
@click.option("--idempotency-key", metavar="TEXT", help="A repeat with the same one stores nothing again.")
@uses_gateway
def send(
    session: Session,
    category: str,
    description: str | None,
    fields: tuple[str, ...],
    wait_s: float | None,
    idempotency_key: str | None,
) -> None:
    """Send a categorised event to the people of the organisation.

    With --wait the exit status is 0 when every destination has it, and 9 when it is stored and not all have it yet,
    or when nobody was told.
    """
    body: dict[str, Any] = {"category": category}
    if description is not None:
        body["description"] = text_or_stdin(description)
    if fields:
        body["fields"] = pairs(fields, "--field")
    answer = session.api.send(
        "POST",
        "/api/v1/event",
        body,
        query={"wait": f"{wait_s:.3f}" if wait_s else None},
        headers={"Idempotency-Key": idempotency_key} if idempotency_key is not None else None,
        timeout_s=_ANSWER_SLACK_S + (wait_s or 0.0),
    )
    stored = answer.json.get("eventId") if answer.status == 500 and answer.body[:1] == b"{" else None
    if stored is not None:
        status, fault = _not_delivered(stored, answer.headers.get("tocsin-deliveries"))
        session.out.record({"event_id": stored, "status": status})
        session.out.warn(fault)
        click.get_current_context().exit(PARTIAL)
    event_id = session.api.checked(answer).json["eventId"]
    session.out.record({"event_id": event_id, "status": "delivered" if wait_s else "accepted"})


def _not_delivered(event_id: str, deliveries: str | None) -> tuple[str, str]:
    """Return the status of an event that not everybody was told of, and what is said of it.

    Args:
        deliveries: how many it has; None where an earlier request stored it.
    """
    if deliveries is None:
        shows = f"tocsin events get {event_id} shows what became of it"
        return "repeated", f"{event_id} was stored by an earlier request, and not every destination has it; {shows}"
    if deliveries == "0":
        nobody = "it matches no destination that this gateway can send to"
        return "told to nobody", f"{event_id} is stored and told to nobody: {nobody}"
    return "not delivered yet", f"{event_id} is stored, but not every destination has it yet; it goes on being tried"
