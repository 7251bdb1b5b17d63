"""Figures as people paste them and as scripts read them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence

Row = Mapping[str, str | float]


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def ratios(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return of each figure the median over the rounds of ours to theirs; 0 where theirs is."""
    pairs = list(zip(ours, theirs, strict=True))
    return {
        name: statistics.median(one[name] / other[name] if other[name] else 0.0 for one, other in pairs)
        for name in ours[0]
    }


def shown(value: str | float) -> str:
    """Return a figure with three digits or more, nothing for what is not there."""
    if isinstance(value, str):
        return value
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def markdown(columns: Mapping[str, str], rows: Iterable[Row]) -> str:
    """Return a table in Markdown.

    Args:
        columns: the heading of each figure that is shown.
    """
    lines = [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(shown(row.get(name, '')) for name in columns)} |" for row in rows]
    return "\n".join(lines)


def print_rows(rows: Iterable[Row], *, as_json: bool, columns: Mapping[str, str], title: str, below: str) -> None:
    """Print a table with what stands above and below it, or a JSON object for each row."""
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    print(f"\n### {title}\n\n{markdown(columns, rows)}\n\n{below}", flush=True)
