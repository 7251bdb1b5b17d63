"""Exit statuses: stable, for scripts."""

from __future__ import annotations

OK = 0
FAILED = 1
"""It was tried and did not work; the last line on stderr says why."""
USAGE = 2
"""Wrong arguments or settings."""
STORE = 3
"""The store cannot be opened: in use, damaged, or too new."""
ADDRESS = 4
"""The address to listen on is not to be had."""
