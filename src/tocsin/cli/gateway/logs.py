"""Logs: JSON lines for machines, text on a terminal, secrets masked in both."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import structlog

_SECRET_NAME = re.compile(r"passw|secret|token|authorization|cookie|api[_-]?key|operator_key", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"(tcs_(?:live|test)_)[0-9a-f]{64}"
    r"|(whsec_)[A-Za-z0-9+/=]{16,}"
    r"|((?:[Bb]earer|Basic) )\S+"
    r"|(/bot)\d+:[\w-]+"
    r"|(/api/webhooks/\d+/)[\w-]+"
    r"|(://)[^/\s]+(?=@)"
    r"|(eyJ)[\w-]+\.[\w-]+\.[\w-]+"
    r"|(\$argon2id\$)[^\s'\"]+"
)
_MARKS = ("tcs_", "whsec_", "earer ", "Basic ", "/bot", "/api/webhooks/", "://", "eyJ", "$argon2id$")
"""One of these stands in whatever the pattern matches: looking for them costs a tenth of trying it."""
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
MASK = "***"


def configure_logs(level: str, form: str) -> None:
    """Send all logs to stderr, those of the libraries too.

    Args:
        level: the least severe that is shown; of a library's, warnings at least.
        form: ``json``, ``text``, or ``auto``: text on a terminal.
    """
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            *(_text_renderers() if as_text else [structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(logging.WARNING, getattr(logging, level.upper())), handlers=[_Forward()], force=True
    )


class _Lines:
    """Writes each log event as a line.

    One that cannot be written is lost: where the disk is full and stderr leads there too, a gateway that stumbles
    over its own log would not even answer 503.
    """

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = msg


class _Forward(logging.Handler):
    """Tells what a library logs as an event of ours, so that it is masked and formatted alike."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger("tocsin")
        log.log(
            record.levelno, "library_log", library=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return a log event with what looks like a secret masked: by a field's name, or by the form of a value."""
    return {name: MASK if _is_secret(name) else _masked(value) for name, value in event.items()}


@lru_cache(maxsize=512)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _masked(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        if not any(mark in value for mark in _MARKS):
            return value
        return _SECRET_VALUE.sub(lambda found: next(filter(None, found.groups()), "") + MASK, value)
    if isinstance(value, Mapping):
        return {name: MASK if _is_secret(str(name)) else _masked(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(each) for each in value]
    return value


def _text_renderers() -> list[Any]:
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_without_controls, console]


def _without_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Return a log event that cannot move a terminal's cursor; JSON escapes such characters by itself."""
    return {name: value.translate(_CONTROLS) if isinstance(value, str) else value for name, value in event.items()}
