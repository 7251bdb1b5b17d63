"""Parts: which buckets one statement may touch.

On one server that is all of them. On a cluster a statement that names the buckets of one shard runs there as it is,
with locks, laterals and whatever else it has, and one that leaves them out or names those of several does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from tocsin.core.identifiers import BUCKETS

R = TypeVar("R", bound=Sequence[Any])

Buckets: TypeAlias = tuple[int, ...]
"""Those of one part."""


class Parts:
    """The buckets, each in one part.

    Args:
        buckets: of each part.
        is_cluster: whether they lie on several nodes, of which one may show a commit before another one does.

    Attributes:
        all: the buckets of each part, in the order in which rows of several are locked.
    """

    def __init__(self, buckets: Sequence[Sequence[int]], *, is_cluster: bool = False) -> None:
        self.is_cluster = is_cluster
        self.all: tuple[Buckets, ...] = tuple(tuple(each) for each in buckets)
        assert sorted(bucket for part in self.all for bucket in part) == list(range(BUCKETS))
        self._part_of = {bucket: number for number, part in enumerate(self.all) for bucket in part}

    def split(self, rows: Sequence[R]) -> Sequence[tuple[Buckets, Sequence[R]]]:
        """Return each part with its rows, by their first column, a bucket: in the order of the parts, none empty."""
        if not rows:
            return ()
        if len(self.all) == 1:
            return ((self.all[0], rows),)
        groups: dict[int, list[R]] = {}
        for row in rows:
            groups.setdefault(self._part_of[row[0]], []).append(row)
        return [(self.all[number], groups[number]) for number in sorted(groups)]


ONE_PART = Parts([range(BUCKETS)])
"""That of one server. A cluster's parts are others, were there one of them, since it must be told the buckets."""


def even_parts(count: int) -> Parts:
    """Return so many parts, of which none has more than one bucket more than another."""
    return Parts([range(number, BUCKETS, count) for number in range(count)])
