"""Counters, gauges and histograms that cost one or two tenths of a microsecond, and a collector that shows them.

``prometheus_client`` takes a lock for each count, since any thread may come. Here each instrument belongs to one
thread, and a scrape only reads: it may miss what is counted in that moment, and the next one has it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
"""The values of an instrument's labels, in their order; all come from a small closed set."""


class Tally(Collector):
    """A counter.

    Attributes:
        counts: by the labels' values; whoever counts adds to it directly where each nanosecond matters.
    """

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.counts: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one, or ``by``."""
        self.counts[labels] = self.counts.get(labels, 0) + by

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, count in list(self.counts.items()):
            family.add_metric([str(each) for each in labels], count)
        return [family]


class Level(Collector):
    """A gauge: what stood at the scrape.

    Attributes:
        read: returns the values by their labels; asked at each scrape. None shows nothing.
    """

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.read: Callable[[], Mapping[Labels, float] | None] = lambda: None

    def follow(self, read: Callable[[], float]) -> None:
        """Show what ``read`` returns; the gauge has no labels."""
        self.read = lambda: {(): read()}

    def set(self, value: float) -> None:
        """Show this value until another is set; the gauge has no labels."""
        self.read = lambda: {(): value}

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows."""
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in (self.read() or {}).items():
            family.add_metric([str(each) for each in labels], value)
        return [family]


class Row:
    """A histogram's counts for one set of labels."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Spread(Collector):
    """A histogram.

    Args:
        bounds: of its buckets, ascending; the last, without end, is added.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._bounds = tuple(bounds)
        self._rows: dict[Labels, Row] = {} if labels else {(): Row(self._bounds)}

    def observe(self, value: float) -> None:
        """Count a value; the histogram has no labels."""
        self._rows[()].observe(value)

    def row(self, *labels: str) -> Row:
        """Return the counts for these labels, to be kept by whoever counts often."""
        found = self._rows.get(labels)
        if found is None:
            found = self._rows[labels] = Row(self._bounds)
        return found

    def collect(self) -> Iterable[Metric]:
        """Return what a scrape shows."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, row in list(self._rows.items()):
            buckets, seen = [], 0
            for bound, count in zip((*map(_shown, self._bounds), "+Inf"), list(row.counts), strict=True):
                seen += count
                buckets.append((bound, seen))
            family.add_metric([str(each) for each in labels], buckets, sum_value=row.total)
        return [family]


def _shown(bound: float) -> str:
    return str(float(bound))


Instrument = Tally | Level | Spread
