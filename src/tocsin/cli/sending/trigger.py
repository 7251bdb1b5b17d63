"""``tocsin trigger``: sample events of all five dialects."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click

from tocsin.cli.client.secret_input import channel_password, password_option, secret_option, signing_secret
from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.exits import PARTIAL, USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.sending.samples import SAMPLES, Address, Sample, find, request_for, with_overrides

_COUNT_MAX = 10_000_000
_BAR_FROM_COUNT = 20
_EXAMPLES = """\b
Examples:
  tocsin trigger --list
  tocsin trigger pingpilot.bug --override fields.service=api
  tocsin trigger pushgo.disk-full --channel 06AQ...
  tocsin trigger promptjang.order-created --endpoint ep_0192... --secret-file secret.txt
  tocsin trigger buildable.user-created --count 10000 --rate 200
"""


@click.command(epilog=_EXAMPLES)
@click.argument("fixture", required=False)
@click.option("--list", "list_only", is_flag=True, help="List the fixtures.")
@click.option("--count", type=click.IntRange(1, _COUNT_MAX), default=1, show_default=True, help="How many to send.")
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), metavar="N", help="At most, a second.")
@click.option(
    "--override", "overrides", metavar="PATH=VALUE", multiple=True, help="Change the body. May be repeated."
)
@click.option("--channel", metavar="ID", help="Of a pushgo fixture.")
@password_option
@click.option("--endpoint", metavar="ID", help="Of a promptjang fixture.")
@secret_option
@uses_gateway
def trigger(
    session: Session,
    fixture: str | None,
    list_only: bool,
    count: int,
    rate_per_s: float | None,
    overrides: tuple[str, ...],
    channel: str | None,
    password_file: str | None,
    endpoint: str | None,
    secret_file: str | None,
) -> None:
    """Send sample events of any dialect, one or many, and tell how long they took.

    They go one after another over one connection. The exit status is 9 when some were refused.
    """
    if list_only:
        session.out.rows({"fixture": name, "what": sample.summary} for name, sample in SAMPLES.items())
        return
    if fixture is None:
        raise Failure(USAGE, "which fixture? tocsin trigger --list shows them")
    sample = find(fixture)
    body = with_overrides(sample.body, overrides)
    address = Address(session.api.key)
    if sample.dialect == "pushgo":
        address = Address(
            session.api.key, channel=_given(channel, "--channel"), password=channel_password(password_file)
        )
    elif sample.dialect == "promptjang":
        address = Address(
            session.api.key, endpoint=_given(endpoint, "--endpoint"), secret=signing_secret(secret_file)
        )
    tally = Tally(fixture)
    with _progress(session, count) as advance:
        try:
            _send_all(session, sample, body, address, tally, count=count, rate_per_s=rate_per_s, advance=advance)
        finally:
            tally.stop()
    if tally.sent:
        session.out.record(tally.one() if count == 1 and not tally.failed else tally.summary())
    if tally.interrupted:
        raise click.Abort
    tally.raise_failures()


class Tally:
    """What became of the events.

    Attributes:
        failed: how many were refused.
        interrupted: whether Ctrl-C ended it.
    """

    def __init__(self, fixture: str) -> None:
        self.failed = 0
        self.interrupted = False
        self._fixture = fixture
        self._statuses: Counter[int] = Counter()
        self._elapsed_ms: list[float] = []
        self._started_s = time.monotonic()
        self._lasted_s = 0.0
        self._first_failure: Failure | None = None
        self._lost: Failure | None = None
        self._last: Any = None

    def add(self, status: int, elapsed_ms: float, told: Any) -> None:
        """Note an event that was taken."""
        self._statuses[status] += 1
        self._elapsed_ms.append(elapsed_ms)
        self._last = told

    def add_failure(self, status: int, elapsed_ms: float, failure: Failure) -> None:
        """Note one that was refused."""
        self._statuses[status] += 1
        self._elapsed_ms.append(elapsed_ms)
        self.failed += 1
        self._first_failure = self._first_failure or failure

    def lose(self, failure: Failure) -> None:
        """Note that the gateway answers no more."""
        self._lost = failure

    def stop(self) -> None:
        """Say that no more will come."""
        self._lasted_s = time.monotonic() - self._started_s

    @property
    def sent(self) -> int:
        """How many were answered."""
        return len(self._elapsed_ms)

    def one(self) -> dict[str, Any]:
        """Return the answer to the only event."""
        return {"fixture": self._fixture, "elapsed_ms": round(self._elapsed_ms[0], 1), "answer": self._last}

    def summary(self) -> dict[str, Any]:
        """Return counts and latencies."""
        ordered = sorted(self._elapsed_ms)
        sent = len(ordered)
        latencies = {
            f"p{percent}_ms": round(ordered[min(sent - 1, sent * percent // 100)], 1) if sent else None
            for percent in (50, 95, 99)
        }
        return {
            "fixture": self._fixture,
            "sent": sent,
            "accepted": sent - self.failed,
            "failed": self.failed,
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "elapsed_s": round(self._lasted_s, 3),
            "per_s": round(sent / self._lasted_s, 1) if self._lasted_s else None,
            **latencies,
            "max_ms": round(ordered[-1], 1) if sent else None,
        }

    def raise_failures(self) -> None:
        """Return if every event was taken.

        Raises:
            Failure: the gateway went away; or as the first refusal where all were refused, else PARTIAL.
        """
        if self._lost is not None:
            raise self._lost
        first = self._first_failure
        if first is None:
            return
        if self.failed == len(self._elapsed_ms):
            raise first
        raise Failure(PARTIAL, f"{self.failed} of {len(self._elapsed_ms)} were refused; the first: {first.message}")


def _send_all(
    session: Session,
    sample: Sample,
    body: dict[str, Any],
    address: Address,
    tally: Tally,
    *,
    count: int,
    rate_per_s: float | None,
    advance: Callable[[], None],
) -> None:
    started_s = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        tally.interrupted = True
        for number in range(count):
            if rate_per_s is not None:
                time.sleep(max(0.0, started_s + number / rate_per_s - time.monotonic()))
            request = request_for(sample, body, address)
            try:
                answer = session.api.send("POST", request.path, request.body, headers=request.headers)
            except Failure as failure:
                tally.lose(failure)
                break
            try:
                tally.add(answer.status, answer.elapsed_ms, session.api.checked(answer).json)
            except Failure as failure:
                tally.add_failure(answer.status, answer.elapsed_ms, failure)
            advance()
        tally.interrupted = False


@contextlib.contextmanager
def _progress(session: Session, count: int) -> Iterator[Callable[[], None]]:
    """Show how far it is on stderr, where that is a terminal and there is time to look."""
    if session.out.quiet or count < _BAR_FROM_COUNT or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415  slow to load
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=count)
        yield lambda: progress.advance(task)


def _given(value: str | None, option: str) -> str:
    if value is None:
        raise Failure(USAGE, f"this fixture needs {option}")
    return value
