"""``tocsin demo``: everything once, on this machine, without an account."""

from __future__ import annotations

import queue
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from tocsin.cli.client.output import Printer, json_text, styled
from tocsin.cli.client.session import uses_output
from tocsin.cli.exits import FAILED
from tocsin.cli.faults import Failure

_ROW = "{:<13}  {:<46}  {:>9}  {:>10}  {:<23}  {}"
_LOOK_EVERY_S = 0.2
_EXAMPLES = """\b
Examples:
  tocsin demo
  tocsin demo --once        # ends after the table: 0 when everything arrived, signed where it should be
"""


@click.command(epilog=_EXAMPLES)
@click.option("--once", is_flag=True, help="End after the table.")
@uses_output
def demo(out: Printer, once: bool) -> None:
    """Start a gateway and a receiver, send an event by each of the five APIs, and show what arrived.

    People are told by fakes of Discord, Telegram and a mail server; a page shows what they would see. The data are in
    a temporary directory that is gone at the end. Without --once it goes on until Ctrl-C, with lines to paste.
    """
    from tocsin.cli.client.api import Api  # noqa: PLC0415
    from tocsin.cli.gateway import demonstration  # noqa: PLC0415
    from tocsin.cli.gateway.people import People  # noqa: PLC0415
    from tocsin.fakes import running as running_fakes  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.note("starting a gateway and a receiver ...")
    with (
        TemporaryDirectory(prefix="tocsin-demo-") as directory,
        demonstration.receiver() as (receiver, receiver_url, arrivals),
        running_fakes() as house,
        demonstration.gateway(Path(directory) / "data", house.fakes.settings()) as running,
        Api(running.url, running.key) as api,
    ):
        people = People(house.fakes)
        samples = demonstration.make_samples(api, receiver_url, people)
        receiver.expect(samples.secrets)
        rows: list[dict[str, Any]] = []
        for row in demonstration.send_each(api, samples, arrivals, people):
            _show(out, row, first=not rows)
            rows.append(row)
        right = sum(map(demonstration.is_right, rows))
        out.note(f"{right} of {len(rows)} arrived as they should: signed at the receiver, readable for people")
        if not once:
            _stay(out, running, samples, receiver_url, arrivals, page_url=house.fakes.page.url)
        elif right < len(rows):
            raise Failure(FAILED, f"{len(rows) - right} did not arrive as they should")


def _show(out: Printer, row: dict[str, Any], *, first: bool) -> None:
    if out.form != "table":
        out.line(json_text(row))
        return
    if first:
        heads = ("API", "REQUEST", "STORED ms", "ARRIVED ms", "AT", "VERDICT")
        out.line(styled(_ROW.format(*heads), bold=True))
    arrived = f"signature {row['signature']}" if row["signature"] else "told"
    verdict = arrived if row["arrived_ms"] is not None else "DID NOT ARRIVE"
    verdict = styled(verdict, colour="green" if verdict in ("signature right", "told") else "red")
    cells = (
        row["dialect"],
        row["request"][:46],
        row["stored_ms"],
        row["arrived_ms"] or "-",
        row["arrived_at"] or "-",
    )
    out.line(_ROW.format(*cells, verdict))


def _stay(
    out: Printer,
    running: Any,
    samples: Any,
    receiver_url: str,
    arrivals: queue.Queue[tuple[float, Any]],
    *,
    page_url: str,
) -> None:
    """Leave it running, printing what arrives, until Ctrl-C."""
    from tocsin.cli.gateway.receiver import print_arrival  # noqa: PLC0415  the help does without
    from tocsin.cli.gateway.tryout import curl_lines  # noqa: PLC0415

    out.line(f"\nGateway   {running.url}\nAPI key   {running.key}\nReceiver  {receiver_url}")
    out.line(f"People    {page_url}   (what Discord, Telegram and mail show)\n")
    for title, line in curl_lines(running.url, running.key, samples):
        out.line(f"# {title}\n{line}\n")
    out.line(f"# Watch\ntocsin tail --url {running.url} --key {running.key}\n")
    try:
        out.note("it goes on until Ctrl-C; what arrives is printed here")
        while running.process.poll() is None:
            try:
                print_arrival(arrivals.get(timeout=_LOOK_EVERY_S)[1])
            except queue.Empty:
                continue
    except KeyboardInterrupt:
        out.note("stopping ...")
    else:
        raise Failure(FAILED, "the gateway ended by itself; its last words are above")
