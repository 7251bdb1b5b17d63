"""What every generator of a page does with its text: write it or, with --check, only say whether it is in step."""

from __future__ import annotations

import sys
from pathlib import Path


def write_or_check(name: str, text: str) -> int:
    """Write or check the page of this name beside this file; return the exit status.

    Args:
        name: the page's file name.
        text: what it is to say.
    """
    target = Path(__file__).with_name(name)
    if "--check" not in sys.argv[1:]:
        target.write_text(text, "utf-8")
        return 0
    if target.exists() and target.read_text("utf-8") == text:
        return 0
    sys.stderr.write(f"{name} is stale: run make docs\n")
    return 1
