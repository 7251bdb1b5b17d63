"""Running a page's ``bash`` blocks one after another in one shell, and judging what they print.

A ``json`` block says what the ``bash`` block before it prints; an ellipsis within a string stands for any text, and
one alone for any value.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

from docs.pages import Block

SCRIPT_S = 90.0
_ELLIPSIS = "…"
_MARK = "==== block"

_BEFORE = """set -euo pipefail
curl() { command curl --fail-with-body --max-time 20 "$@"; }
"""


def run(page: list[Block], variables: dict[str, str], directory: Path) -> list[tuple[Block, str]]:
    """Run the ``bash`` blocks; return each with what it printed.

    Args:
        variables: of the shell; a line of a block that sets one of them is left out, since it names an example.
    """
    runnable = [each for each in page if each.info == "bash"]
    script = _BEFORE
    for number, each in enumerate(runnable):
        lines = [line for line in each.text.splitlines() if line.partition("=")[0] not in variables]
        script += f"printf '\\n{_MARK} {number}\\n'\n" + "\n".join(lines) + "\n"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**variables, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=SCRIPT_S,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    printed = re.split(rf"\n{_MARK} \d+\n", done.stdout)[1:]
    return list(zip(runnable, printed, strict=True))


def check(page: list[Block], ran: list[tuple[Block, str]]) -> None:
    """Compare what was printed with what the page says."""
    printed = {id(block): text for block, text in ran}
    for before, block in pairwise(page):
        if block.info == "json":
            assert before.info == "bash", "a json block stands behind what prints it"
            told = json.loads(printed[id(before)])
            assert agrees(json.loads(block.text), told), f"{before.text}prints {told}"


def agrees(wanted: Any, got: Any) -> bool:
    """Return whether a value is what the page shows."""
    if isinstance(wanted, str) and _ELLIPSIS in wanted:
        if wanted == _ELLIPSIS:
            return got is not None
        pattern = ".*".join(map(re.escape, wanted.split(_ELLIPSIS)))
        return isinstance(got, str) and re.fullmatch(pattern, got) is not None
    if isinstance(wanted, dict) and isinstance(got, dict):
        return wanted.keys() == got.keys() and all(agrees(wanted[name], got[name]) for name in wanted)
    if isinstance(wanted, list) and isinstance(got, list):
        return len(wanted) == len(got) and all(map(agrees, wanted, got))
    return type(wanted) is type(got) and bool(wanted == got)
