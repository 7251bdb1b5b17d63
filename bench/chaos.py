"""Two gateways and two dispatchers under load, of which something is always killed, stopped or cut off."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import options
from bench.tables import print_rows
from chaos.adversary import Fault
from chaos.evidence import Evidence
from chaos.judging import copies, forced_copies, verdict
from chaos.playing import Plan, play
from engine.postgres_server import PostgresServer, running_server

_ARRIVALS_BETWEEN = 50
_SHOWN_MAX = 5

_COLUMNS = {
    "seed": "Seed",
    "seconds": "Seconds",
    "acknowledged": "Acknowledged events",
    "deliveries": "Deliveries",
    "lost": "Lost",
    "copies": "Copies after kills",
    "share": "of all deliveries",
    "forced": "Copies after pauses",
    "in_flight": "In flight at pauses",
    "unavailable": "503s",
    "longest_s": "Longest wait of a client, s",
    "faults": "Faults",
    "wrong": "Judged wrong",
}


def _faults(seed: int, count: int) -> list[Fault]:
    """Return that many faults, each kind as often as the others, in an order by the seed."""
    kinds = list(Fault)
    faults = [kinds[at % len(kinds)] for at in range(count)]
    random.Random(seed).shuffle(faults)
    return faults


def _run(seed: int, count: int, every_s: float, server: PostgresServer) -> Evidence:
    begun_s = time.monotonic()

    def note(text: str) -> None:
        sys.stderr.write(f"seed {seed} {time.monotonic() - begun_s:6.1f} s  {text}\n")

    plan = Plan(seed, _faults(seed, count), _ARRIVALS_BETWEEN, pause_s=every_s, repeats=2000, note=note)
    with tempfile.TemporaryDirectory(prefix="tocsin-chaos-") as directory:
        return play(plan, server, Path(directory))


def _row(seed: int, evidence: Evidence, wrong: dict[str, list[str]]) -> dict[str, str | float]:
    forced = sum(forced_copies(evidence).values())
    others = sum(copies(evidence).values()) - forced
    deliveries = sum(len(each.deliveries) for each in evidence.stored)
    return {
        "seed": str(seed),
        "seconds": evidence.took_s,
        "acknowledged": sum(each.is_acknowledged for each in evidence.postings),
        "deliveries": deliveries,
        "lost": str(len(wrong.get("lost", []))),
        "copies": str(others),
        "share": f"{others / max(1, deliveries):.2%}",
        "forced": str(forced),
        "in_flight": str(sum(len(each.leased) for each in evidence.pauses)),
        "unavailable": str(evidence.unavailable),
        "longest_s": max((each.waited_s for each in evidence.postings), default=0.0),
        "faults": sum(evidence.faults.values()),
        "wrong": ", ".join(wrong) or "nothing",
    }


def _run_all(seeds: Sequence[int], count: int, every_s: float, folder: Path | None, *, as_json: bool) -> int:
    rows = []
    for seed in seeds:
        with running_server(folder, autovacuum="on") as server:
            evidence = _run(seed, count, every_s, server)
        wrong = verdict(evidence)
        for judgement, found in wrong.items():
            sys.stderr.write(f"seed {seed}: {judgement}: {len(found)}\n")
            sys.stderr.writelines(f"  {each}\n" for each in found[:_SHOWN_MAX])
        rows.append(_row(seed, evidence, wrong))
    print_rows(
        rows,
        as_json=as_json,
        columns=_COLUMNS,
        title="Chaos",
        below=f"A fault every {every_s:g} s, and what it takes to have back what was killed; each of these as often "
        f"as the others: {', '.join(Fault)}.",
    )
    return 0 if all(row["wrong"] == "nothing" for row in rows) else 1


def _seeds(text: str) -> list[int]:
    if not all(each.isdecimal() for each in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text} is no list of numbers with commas between them")
    return [int(each) for each in text.split(",")]


def main() -> int:
    """Run the bench; return 1 if anything was judged wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seeds", type=_seeds, default="1,2,3", help="comma-separated; each is a run (default 1,2,3)"
    )
    parser.add_argument("--faults", type=options.count, default=16, help="in each run (default 16)")
    parser.add_argument(
        "--every-s", type=options.seconds, default=5.0, help="between two faults at the least (default 5)"
    )
    parser.add_argument("--postgres", type=options.folder, metavar="FOLDER", help="with the programs of the server")
    parser.add_argument("--json", action="store_true", dest="as_json", help="an object a line instead of a table")
    given = parser.parse_args()
    return _run_all(given.seeds, given.faults, given.every_s, given.postgres, as_json=given.as_json)
