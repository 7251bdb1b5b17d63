"""``tocsin ingest``: a signed event for an endpoint, as PromptJang takes it."""

from __future__ import annotations

import time

import click

from tocsin.cli.client.secret_input import secret_option, signing_secret
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import bytes_of

_EXAMPLES = """\b
Examples:
  echo '{"event_type": "order.created", "order_id": "ORD-001"}' | tocsin ingest ep_0192...
  tocsin ingest ep_0192... order.json --type order.created --secret-file secret.txt
  tocsin ingest ep_0192... order.json --idempotency-key ORD-001
"""


@click.command(epilog=_EXAMPLES)
@click.argument("endpoint")
@click.argument("file", metavar="[FILE|-]", default="-")
@click.option("--type", "event_type", metavar="TEXT", help="The event's type.  [default: event_type of the body]")
@click.option("--correlation-id", metavar="TEXT", help="Travels with the event.")
@click.option("--idempotency-key", metavar="TEXT", help="A repeat with the same one stores nothing again.")
@secret_option
@uses_gateway
def ingest(
    session: Session,
    endpoint: str,
    file: str,
    event_type: str | None,
    correlation_id: str | None,
    idempotency_key: str | None,
    secret_file: str | None,
) -> None:
    """Send a signed event to an endpoint, byte for byte as it is in the file."""
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without

    secret = signing_secret(secret_file)
    body = bytes_of(file)
    headers = {
        "X-PJ-Event-Type": event_type,
        "X-PJ-Correlation-ID": correlation_id,
        "Idempotency-Key": idempotency_key,
        **signed(secret, body),
    }
    answer = session.api.checked(
        session.api.send(
            "POST",
            f"/e/{segment(endpoint)}",
            body,
            headers={name: value for name, value in headers.items() if value is not None},
        )
    )
    told = answer.json
    repeated = answer.headers.get("idempotent-replayed") == "true"
    session.out.record({"event_id": told["id"], "status": told["status"], "repeated": repeated})


def signed(secret: str, body: bytes) -> dict[str, str]:
    """Return the headers that sign a body, as of now."""
    from tocsin.core.signature import sign_promptjang  # noqa: PLC0415

    timestamp = str(int(time.time()))
    return {"X-PJ-Signature": sign_promptjang(secret, timestamp, body), "X-PJ-Timestamp": timestamp}
