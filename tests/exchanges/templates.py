"""Templates, filled in as text before anything is sent or compared.

``{{name}}``: a predefined name, or what an earlier answer's placeholder captured. ``{{repeat:TEXT:N}}``: TEXT, N
times.
``{{now_s}}``, ``{{now_s-301}}`` (seconds), ``{{now_ms}}``, ``{{now_ms+1}}`` (milliseconds), ``{{rfc3339+0}}``,
``{{rfc3339-60}}`` (seconds): the time of the exchange, the same throughout it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

_TEMPLATE = re.compile(r"\{\{(\w.*?)\}\}")
_TIME = re.compile(r"(now_s|now_ms|rfc3339)([+-]\d+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnknownTemplate(ValueError):
    """No such name; the text says which there are."""


def expand(text: str, names: Mapping[str, str], now_ms: int) -> str:
    """Return ``text`` with every template filled in.

    Raises:
        UnknownTemplate: a name was neither predefined nor captured.
    """
    return _TEMPLATE.sub(lambda found: _value(found[1], names, now_ms), text)


def _value(template: str, names: Mapping[str, str], now_ms: int) -> str:
    if template in names:
        return names[template]
    if template.startswith("repeat:"):
        repeated, _, times = template.removeprefix("repeat:").rpartition(":")
        if times.isascii() and times.isdigit():
            return repeated * int(times)
    time = _TIME.fullmatch(template)
    if time is None:
        raise UnknownTemplate(f"{{{{{template}}}}} is not known here; there are: {', '.join(sorted(names))}")
    offset = int(time[2] or 0)
    if time[1] == "now_ms":
        return str(now_ms + offset)
    at_s = now_ms // 1000 + offset
    if time[1] == "now_s":
        return str(at_s)
    return (_EPOCH + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
