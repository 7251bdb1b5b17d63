"""``tocsin jobs``: what the gateway does in batches."""

from __future__ import annotations

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.watching.paging import listed, paging, paging_options

_COLUMNS = ("created_at", "id", "kind", "state", "done", "failed", "total", "error")
_STATES = ("queued", "running", "finished", "failed", "cancelled")
_EXAMPLES = """\b
Examples:
  tocsin jobs list --state running
  tocsin jobs cancel job_0192...
"""


@click.group(epilog=_EXAMPLES)
def jobs() -> None:
    """Look at bulk replays and recoveries, and cancel them."""


@jobs.command("list", epilog="\b\nExamples:\n  tocsin jobs list --state running\n")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@paging_options
@uses_gateway
def list_jobs(session: Session, state: str | None, limit: int, cursor: str | None, everything: bool) -> None:
    """List jobs, newest first."""
    wanted = paging(limit, cursor, everything=everything)
    session.out.rows(listed(session, "/api/v1/jobs", "jobs", {"state": state}, wanted), _COLUMNS)


@jobs.command(epilog="\b\nExamples:\n  tocsin jobs get job_0192...\n  tocsin jobs get job_0192... --wait\n")
@click.argument("job_id")
@click.option("--wait", is_flag=True, help="Until it is over; a job that failed ends with 1, one in part with 9.")
@uses_gateway
def get(session: Session, job_id: str, wait: bool) -> None:
    """Show one job and how far it is."""
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without
    from tocsin.cli.watching.job_following import follow, verdict  # noqa: PLC0415

    job = session.api.get(f"/api/v1/jobs/{segment(job_id)}")
    if wait:
        job = follow(session, job)
    session.out.record(job)
    if wait:
        verdict([job])


@jobs.command(epilog="\b\nExamples:\n  tocsin jobs cancel job_0192...\n")
@click.argument("job_id")
@uses_gateway
def cancel(session: Session, job_id: str) -> None:
    """Stop a job; what it did stays done."""
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without

    session.out.record(session.api.post(f"/api/v1/jobs/{segment(job_id)}/cancel"))
