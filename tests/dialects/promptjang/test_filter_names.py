"""What narrows the list of events narrows a bulk replay too, word for word."""

from __future__ import annotations

from typing import Any

from tocsin.core.event import Environment
from tocsin.core.identifiers import OrganisationId
from tocsin.dialects.promptjang.limits import PromptJangLimits
from tocsin.dialects.promptjang.listing import FILTER_NAMES, parse_listing

PAGING = {"limit", "offset", "cursor"}


class Asked(dict[str, str]):
    """A query that notes the parameters it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def test_every_parameter_of_the_list_but_the_paging_is_a_word_of_the_filter() -> None:
    query = Asked()
    parse_listing(
        query,
        organisation_id=OrganisationId(b"o" * 16),
        environment=Environment.LIVE,
        now_ms=0,
        limits=PromptJangLimits(),
    )
    assert query.names - PAGING == set(FILTER_NAMES)
    assert query.names >= PAGING
