"""Which destinations an event goes to: pure, and built once for each state of the catalog."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.core.condition import Condition, read_condition
from tocsin.core.destination import Destination, Matcher, globs_of, is_addressed
from tocsin.core.event import Dialect, Severity
from tocsin.core.glob import is_glob, prefix_of
from tocsin.core.identifiers import DestinationId

_Entry = tuple[Destination, Matcher]

_COMPARISONS_PER_STEP = 1024
"""Of a character of a pattern with one of a text, at the worst; a step takes about a microsecond."""


class RoutingTable:
    """The enabled destinations of one organisation, those for exact sources found without looking at the rest.

    A thousand PromptJang endpoints have a thousand different sources, and an event concerns one of them.

    Attributes:
        conditions: of the destinations that have one, read and ready to be evaluated.
    """

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._by_source: dict[str, list[_Entry]] = {}
        self._any_source: list[_Entry] = []
        self.conditions: dict[DestinationId, Condition] = {}
        self._searched_characters = 0
        for destination in sorted(destinations, key=lambda each: each.id):
            if not destination.enabled or not is_addressed(destination):
                continue
            if destination.filter.where is not None:
                self.conditions[destination.id] = read_condition(destination.filter.where)
            entry = (destination, Matcher(destination.filter))
            self._searched_characters += sum(
                len(each) for each in globs_of(destination.filter) if prefix_of(each) is None
            )
            sources = destination.filter.sources
            if sources and not any(is_glob(source) for source in sources):
                for source in dict.fromkeys(sources):
                    self._by_source.setdefault(source, []).append(entry)
            else:
                self._any_source.append(entry)

    def steps(self, text_characters: int) -> int:
        """Return about how many steps routing takes, at the most, for texts of so many characters together."""
        return len(self._any_source) + self._searched_characters * text_characters // _COMPARISONS_PER_STEP

    def route(
        self,
        *,
        dialect: Dialect,
        source: str,
        type: str,  # noqa: A002  CloudEvents' own word
        subject: str | None,
        severity: Severity | None,
    ) -> list[Destination]:
        """Return the destinations whose filter an event of these attributes passes, each once.

        Their conditions are not asked: see ``Conditions``.
        """
        return [
            destination
            for group in (self._by_source.get(source, ()), self._any_source)
            for destination, matcher in group
            if matcher.passes(dialect=dialect, source=source, type=type, subject=subject, severity=severity)
        ]
