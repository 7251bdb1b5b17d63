"""Following a job to its end: a bar on a terminal, and what became of it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from tocsin.cli.client.api import segment
from tocsin.cli.client.asking import somebody_is_there
from tocsin.cli.client.session import Session
from tocsin.cli.exits import FAILED, PARTIAL
from tocsin.cli.faults import Failure

_LOOK_EVERY_S = 0.25
_OPEN = frozenset({"queued", "running"})


def follow(session: Session, job: dict[str, Any]) -> dict[str, Any]:
    """Return a job once it is over.

    Ctrl-C asks whether the job is to be cancelled too; without somebody to ask it goes on.

    Raises:
        Failure: as ``Api.get``.
    """
    path = f"/api/v1/jobs/{segment(job['id'])}"
    try:
        with _bar(session, job) as show:
            while job["state"] in _OPEN:
                time.sleep(_LOOK_EVERY_S)
                job = session.api.get(path)
                show(job)
    except KeyboardInterrupt:
        if somebody_is_there() and click.confirm("\nCancel the job? What it did stays done.", err=True):
            session.api.post(f"{path}/cancel")
            session.out.note(f"{job['id']} is cancelled")
        else:
            session.out.note(f"{job['id']} goes on: tocsin jobs get {job['id']}")
        raise click.Abort from None
    return job


def verdict(jobs: list[dict[str, Any]]) -> None:
    """Return if all jobs did all that they are about.

    Raises:
        Failure: one failed or was cancelled; or PARTIAL where a part could not be done.
    """
    for job in jobs:
        if job["state"] in ("failed", "cancelled"):
            raise Failure(FAILED, f"{job['id']} {job['state']}: {job['error'] or 'what it did stays done'}")
    lost = sum(job["failed"] for job in jobs)
    if lost:
        raise Failure(PARTIAL, f"{lost} could not be done; tocsin events list --status EXPIRED may tell which")


@contextlib.contextmanager
def _bar(session: Session, job: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    if session.out.quiet or not sys.stderr.isatty():
        yield lambda _job: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(job["kind"], total=_end(job))
        yield lambda seen: progress.update(task, completed=seen["done"] + seen["failed"], total=_end(seen))


def _end(job: dict[str, Any]) -> int | None:
    """Return how much a job is about; None where that is not known."""
    return (job["total"] or None) if job["total_is_exact"] else None
