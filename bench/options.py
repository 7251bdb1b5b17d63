"""The options that the benches of both engines share."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """What a bench was told.

    Attributes:
        rounds: None leaves it to the bench.
        seconds: for how long each figure is taken.
        events_max: in each load.
        postgres: the folder with the server's programs; None takes the newest that is installed.
    """

    connections: int
    seconds: float
    rounds: int | None
    events_max: int
    dispatchers_max: int
    postgres: Path | None
    as_json: bool


def folder(text: str) -> Path:
    """Return a folder with the programs of a server."""
    if not (Path(text) / "initdb").is_file():
        raise argparse.ArgumentTypeError(f"there is no initdb in {text}")
    return Path(text)


def count(text: str) -> int:
    """Return a number of at least one."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of at least 1")
    return int(text)


def seconds(text: str) -> float:
    """Return a time above zero."""
    found = float(text)
    if not 0 < found < inf:
        raise argparse.ArgumentTypeError(f"{text} is no time above 0")
    return found


def options(about: str | None) -> Options:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=count, default=64, help="of clients (default 64)")
    parser.add_argument("--seconds", type=seconds, default=4.0, help="for each figure (default 4)")
    parser.add_argument("--rounds", type=count, help="how often each is measured (default: 3; dispatchers 1)")
    parser.add_argument("--events-max", type=count, default=sys.maxsize, help="sent at the most for each figure")
    parser.add_argument("--dispatchers-max", type=count, default=3, help="beside the gateway (default 3)")
    parser.add_argument(
        "--postgres", type=folder, metavar="FOLDER", help="with the programs of the server to measure"
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="an object a line instead of tables")
    return Options(**vars(parser.parse_args()))
