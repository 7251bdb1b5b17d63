"""Names and fields of every metric and log event: a contract that docs/telemetry.md repeats."""

from __future__ import annotations
