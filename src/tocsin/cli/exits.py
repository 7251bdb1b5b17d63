"""Exit statuses: stable, for scripts."""

from __future__ import annotations

OK = 0
"""Done."""
FAILED = 1
"""It was tried and did not work, or its output cannot be written; the last line on stderr says why."""
USAGE = 2
"""Wrong arguments or settings."""
STORE = 3
"""The store cannot be opened: in use, damaged, too old or too new, or a database that is not to be reached."""
ADDRESS = 4
"""The address to listen on is not to be had."""
UNREACHABLE = 5
"""No gateway answers at the URL, or not in time."""
DENIED = 6
"""The gateway does not know the key or password, or it may not do this."""
NOT_FOUND = 7
"""The gateway has nothing of that name or id."""
REFUSED = 8
"""The gateway understood the request and refused it: its content, or what is stored, forbids it."""
PARTIAL = 9
"""A part was done; what was not is told on stderr."""
BUSY = 10
"""The gateway asks to come again later: a limit, a quota, or it cannot store just now."""
INTERRUPTED = 130
"""Ended by Ctrl-C."""
PIPE_CLOSED = 141
"""Whoever read the output has gone."""
