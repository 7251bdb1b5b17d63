"""``python -m bench [NAME]``: run one bench; without a name, those that compare the engines."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from bench import chaos, dispatchers, end_to_end, engines, outbound, search
from bench.options import options

_ABOUT = """Measure Tocsin on this machine. Without a name: engines, then dispatchers, in about three minutes.

  engines      SQLite and PostgreSQL side by side, under load
  dispatchers  a backlog on PostgreSQL, drained by one, two and three dispatchers
  end-to-end   one gateway on SQLite, any dialect, any number of destinations and streams
  chaos        two gateways and two dispatchers, of which something is always killed, stopped or cut off
  outbound     the HTTP client alone, and the cheapest one that could be written
  search       searches in a small and a large store

Each says more by --help. Examples:
  make bench
  make bench ARGS="--seconds 10 --rounds 5"
  make bench ARGS="engines --json"
  make bench ARGS="dispatchers --postgres /usr/lib/postgresql/17/bin"
  make bench ARGS="end-to-end --dialects all --destinations 3"
"""


def _engines_and_dispatchers() -> None:
    given = options(_ABOUT)
    engines.run(given)
    dispatchers.run(given)


BENCHES: dict[str, Callable[[], int | None]] = {
    "engines": engines.main,
    "dispatchers": dispatchers.main,
    "end-to-end": end_to_end.main,
    "chaos": chaos.main,
    "outbound": outbound.main,
    "search": search.main,
}


def main() -> int:
    """Run the bench that is named; return the exit status."""
    # What a bench has started, a server too, is to end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    name, *arguments = sys.argv[1:] or ["-"]
    if name.startswith("-"):
        sys.argv[0] = "python -m bench"
        _engines_and_dispatchers()
        return 0
    if name not in BENCHES:
        sys.stderr.write(f"no bench {name}; there are: {', '.join(BENCHES)}\n")
        return 2
    sys.argv = [f"python -m bench {name}", *arguments]
    return BENCHES[name]() or 0


if __name__ == "__main__":
    sys.exit(main())
