"""Benches: each is a command, and states figures of one run."""

from __future__ import annotations

import sys
from pathlib import Path

# The tests' ways to run the real program and a real server are the benches' too.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
