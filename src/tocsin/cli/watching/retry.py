"""``tocsin retry``: send again what destinations missed."""

from __future__ import annotations

from typing import Any

import click

from tocsin.cli.client.asking import ask, yes_option
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import moment_text, number_of
from tocsin.cli.exits import PARTIAL
from tocsin.cli.faults import Failure

_STATUSES = ("failed", "expired", "cancelled", "delivered")
_EXAMPLES = """\b
Examples:
  tocsin retry --since 1h --dry-run
  tocsin retry --since 1h --status failed --destination shop --yes
  tocsin retry --since 2026-03-06T10:00:00Z --until 2026-03-06T11:00:00Z --status failed --status cancelled
"""


@click.command(epilog=_EXAMPLES)
@click.option("--since", metavar="WHEN", required=True, help="Not before: 1h is an hour ago; or an RFC 3339 time.")
@click.option("--until", metavar="WHEN", help="Not after.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(_STATUSES, case_sensitive=False),
    multiple=True,
    help="What became of them; failed and expired are the same.  [default: failed]",
)
@click.option("--destination", metavar="NAME|ID", help="Only this one.  [default: every one]")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the jobs; tocsin jobs list shows them.")
@yes_option
@uses_gateway
def retry(
    session: Session,
    since: str,
    until: str | None,
    statuses: tuple[str, ...],
    destination: str | None,
    dry_run: bool,
    no_wait: bool,
    yes: bool,
) -> None:
    """Send again what destinations missed, by default all that was given up.

    The count comes first; then each destination has a job of the gateway, one after another. The exit status is 9
    when a part could not be done.
    """
    from tocsin.cli.managing.destination_lookup import all_destinations, find_destination  # noqa: PLC0415
    from tocsin.cli.watching.job_following import follow, verdict  # noqa: PLC0415

    body: dict[str, Any] = {"since": moment_text(since)}
    if until is not None:
        body["until"] = moment_text(until)
    if statuses:
        body["status"] = list(statuses)
    wanted = all_destinations(session) if destination is None else [find_destination(session, destination)]
    counts = []
    for each in wanted:
        count = session.api.post(_path(each["id"]), body, {"dry_run": "true"})
        # Only where it may be more does the gateway say so.
        exact = count.get("exact", True)
        counts.append(
            {"destination": each["name"], "destination_id": each["id"], "count": count["count"], "exact": exact}
        )
    missed = [each for each in counts if each["count"] or not each["exact"]]
    if dry_run or not missed:
        session.out.rows(counts)
        if not all(each["exact"] for each in missed):
            session.out.note(_announced(missed))
        return
    ask(_announced(missed), yes=yes)
    jobs = []
    refused: list[Failure] = []
    for each in missed:
        try:
            job = session.api.post(_path(each["destination_id"]), body)
            jobs.append(job if no_wait else follow(session, job))
            each |= {"job_id": job["id"], **{name: jobs[-1][name] for name in ("state", "done", "failed", "error")}}
        except Failure as failure:
            refused.append(failure)
            each |= {"job_id": None, "state": "refused", "error": failure.message}
    session.out.rows(missed)
    if refused:
        raise refused[0] if len(refused) == len(missed) else Failure(PARTIAL, refused[0].message)
    verdict(jobs)


def _announced(missed: list[dict[str, Any]]) -> str:
    total = number_of(sum(each["count"] for each in missed), exact=all(each["exact"] for each in missed))
    return f"{total} deliveries to {len(missed)} destination{'s'[: len(missed) > 1]} would be sent again"


def _path(destination_id: str) -> str:
    return f"/api/v1/destinations/{destination_id}/recover"
