"""Logs: JSON lines for machines, text on a terminal, secrets masked in both."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_NAME = re.compile(r"passw|secret|token|authorization|cookie|api_?key|operator_key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(tcs_(?:live|test)_)[0-9a-f]{64}|(whsec_)[A-Za-z0-9+/=]{16,}|(Bearer )\S+|(/bot)\d+:[\w-]+"
)
MASK = "***"


def configure_logs(level: str, form: str) -> None:
    """Send all logs to stderr.

    Args:
        level: the least severe that is shown.
        form: ``json``, ``text``, or ``auto``: text on a terminal.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return a log event with what looks like a secret masked: by a field's name, or by the form of a value."""
    return {name: MASK if _SECRET_NAME.search(name) else _masked(value) for name, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUE.sub(lambda found: next(filter(None, found.groups()), "") + MASK, value)
    return value
