"""Events in by one dialect, signed webhooks out: rates, latency and the program's CPU for each event."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import events
from bench.streams import Readers
from bench.traffic import Sink, load
from bench.usage import cpu_s, memory_mib
from gateway import Process


def _measure(dialect: str, connections: int, seconds: float, destinations: int, streams: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory:
        sink = Sink()
        process = Process(Path(directory) / "data", {"TOCSIN_LOG_LEVEL": "error"})
        process.start()
        try:
            key = process.keys["api_key"]
            for number in range(destinations):
                body = {"name": f"sink {number}", "transport": "webhook", "address": {"url": sink.url}}
                answer = process.request("POST", "/api/v1/destinations", {**body, "concurrency": 64}, key=key)
                assert answer.status == 201, answer.body
            request = events.request(process, dialect, key)
            readers = Readers(process.base_url, key, streams) if streams else None
            warmed = load(process.base_url, request, connections=connections, seconds=1.0)
            sink.wait_for(warmed["accepted"] * destinations)
            told = 0 if readers is None else readers.count()
            before_s, arrived, started_s = cpu_s(process.pid), sink.count(), time.monotonic()
            tally = load(process.base_url, request, connections=connections, seconds=seconds)
            delivered = sink.wait_for(arrived + tally["accepted"] * destinations) - arrived
            took_s = time.monotonic() - started_s
            used_s = cpu_s(process.pid) - before_s
            if readers is not None:
                told = readers.count() - told
                readers.stop()
            latencies = sorted(tally["latencies_ms"]) or [0.0]
            return {
                "dialect": dialect,
                "connections": connections,
                "destinations": destinations,
                "accepted_per_s": round(tally["accepted"] / tally["took_s"]),
                "refused": tally["refused"],
                "delivered_per_s": round(delivered / took_s) if destinations else 0,
                "undelivered": tally["accepted"] * destinations - delivered,
                "cpu_us_per_event": round(used_s / max(1, tally["accepted"]) * 1e6, 1),
                "ack_p50_ms": round(statistics.median(latencies), 2),
                "ack_p99_ms": round(latencies[int(len(latencies) * 0.99)], 2),
                "memory_mib": round(memory_mib(process.pid)),
                "streams": streams,
                "told_per_s": round(told / took_s),
            }
        finally:
            process.stop()
            sink.stop()


def main() -> int:
    """Run the bench and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialects", default="buildable", help="comma-separated, or 'all'")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--destinations", type=int, default=1)
    parser.add_argument("--streams", type=int, default=0, help="readers of the live stream")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    dialects = events.DIALECTS if arguments.dialects == "all" else arguments.dialects.split(",")
    for number, dialect in enumerate(dialects):
        row = _measure(dialect, arguments.connections, arguments.seconds, arguments.destinations, arguments.streams)
        if arguments.json:
            print(json.dumps(row))
            continue
        if number == 0:
            print("  ".join(f"{name:>17}" for name in row))
        print("  ".join(f"{value:>17}" for value in row.values()))
    return 0
