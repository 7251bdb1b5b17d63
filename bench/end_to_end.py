"""Events in by one dialect, signed webhooks out: rates, latency and the program's CPU for each event."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.streams import Readers
from bench.traffic import Sink, load

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from gateway import Process  # noqa: E402  the tests' way to run the real program

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SETTLE_S = 60.0


def _family(pid: int) -> list[int]:
    """Return a process and its children: the sending worker is one."""
    children = [
        int(each)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for each in (task / "children").read_text("ascii").split()
    ]
    return [pid, *children]


def _cpu_s(pid: int) -> float:
    ticks = 0
    for each in _family(pid):
        fields = Path(f"/proc/{each}/stat").read_text("ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def _memory_mib(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{each}/statm").read_text("ascii").split()[1]) for each in _family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _http(path: str, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    raw = json.dumps(body, separators=(",", ":")).encode()
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def _request(process: Process, dialect: str, key: str) -> bytes:
    """Return a request of about 300 bytes of body; makes what the dialect needs first."""
    filler = "x" * 200
    if dialect == "buildable":
        return _http("/emit", {"event": "load", "payload": {"text": filler}}, {"x-buildable-secret": key})
    if dialect == "nativeframe":
        path = "/events/v2/projects/bench/events/load"
        return _http(path, {"text": filler}, {"authorization": f"Bearer {key}"})
    if dialect == "pingpilot":
        process.request("POST", "/api/v1/categories", {"name": "load", "color": "#ff6b6b"}, key=key)
        email = {"enabled": True, "to": ["bench@example.com"]}
        process.request("PUT", "/api/v1/account", {"email": email}, key=key)
        listed = process.request("GET", "/api/v1/destinations", key=key).json["destinations"]
        for each in (each for each in listed if each["transport"] == "email"):
            # Whoever is measured is told by webhook, as in the other dialects.
            nothing = {"filter": {"types": ["nothing"]}}
            process.request("PATCH", f"/api/v1/destinations/{each['id']}", nothing, key=key)
        return _http("/api/v1/event", {"category": "load", "description": filler}, {"authorization": f"Bearer {key}"})
    channel = process.request("POST", "/api/v1/channels", {"name": "b", "password": "pass-1234"}, key=key).json
    body = {
        "channel_id": channel["id"],
        "password": "pass-1234",
        "title": "Load",
        "status": "ongoing",
        "message": filler[:100],
        "severity": "high",
        "event_time": 1713750000,
    }
    return _http("/event/create", body, {"authorization": f"Bearer {key}"})


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
            request = _request(process, dialect, key)
            readers = Readers(process.base_url, key, streams) if streams else None
            load(process.base_url, request, connections=connections, seconds=1.0)
            _drain(sink, sink.count())
            told = 0 if readers is None else readers.count()
            before, arrived, started_s = _cpu_s(process.pid), sink.count(), time.monotonic()
            tally = load(process.base_url, request, connections=connections, seconds=seconds)
            intake_s = time.monotonic() - started_s
            delivered = _drain(sink, arrived + tally["accepted"] * destinations) - arrived
            took_s = time.monotonic() - started_s
            cpu_s = _cpu_s(process.pid) - before
            if readers is not None:
                told = readers.count() - told
                readers.stop()
            latencies = sorted(tally["latencies_ms"]) or [0.0]
            return {
                "dialect": dialect,
                "connections": connections,
                "destinations": destinations,
                "accepted_per_s": round(tally["accepted"] / intake_s),
                "refused": tally["refused"],
                "delivered_per_s": round(delivered / took_s) if destinations else 0,
                "undelivered": tally["accepted"] * destinations - delivered,
                "cpu_us_per_event": round(cpu_s / max(1, tally["accepted"]) * 1e6, 1),
                "ack_p50_ms": round(statistics.median(latencies), 2),
                "ack_p99_ms": round(latencies[int(len(latencies) * 0.99)], 2),
                "memory_mib": round(_memory_mib(process.pid)),
                "streams": streams,
                "told_per_s": round(told / took_s),
            }
        finally:
            process.stop()
            sink.stop()


def _drain(sink: Sink, goal: int) -> int:
    """Return what arrived once that is ``goal`` or nothing more comes."""
    deadline_s = time.monotonic() + _SETTLE_S
    count, still = sink.count(), 0
    while count < goal and still < 100 and time.monotonic() < deadline_s:
        time.sleep(0.02)
        latest = sink.count()
        still = still + 1 if latest == count else 0
        count = latest
    return count


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
    every = ["pushgo", "pingpilot", "buildable", "nativeframe"]
    dialects = every if arguments.dialects == "all" else arguments.dialects.split(",")
    for number, dialect in enumerate(dialects):
        row = _measure(dialect, arguments.connections, arguments.seconds, arguments.destinations, arguments.streams)
        if arguments.json:
            print(json.dumps(row))
            continue
        if number == 0:
            print("  ".join(f"{name:>17}" for name in row))
        print("  ".join(f"{value:>17}" for value in row.values()))
    return 0


if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, "-m", "bench", "end-to-end", *sys.argv[1:]], cwd=ROOT))
