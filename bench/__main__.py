"""``python -m bench NAME``: run one bench; without a name, the end-to-end one."""

from __future__ import annotations

import sys

from bench import end_to_end, outbound, search

BENCHES = {"end-to-end": end_to_end.main, "outbound": outbound.main, "search": search.main}


def main() -> int:
    """Run the bench that is named; return the exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "end-to-end"
    if name not in BENCHES:
        sys.stderr.write(f"no bench {name}; there are: {', '.join(BENCHES)}\n")
        return 2
    sys.argv = [f"bench {name}", *(argument for argument in sys.argv[1:] if argument != name)]
    return BENCHES[name]() or 0


if __name__ == "__main__":
    sys.exit(main())
