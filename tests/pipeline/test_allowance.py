"""How many destinations an organisation may have, and how many globs in their filters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.remote import NOWHERE
from pipeline.stage import Stage, refusal, run
from tocsin.core.destination import Destination, Filter
from tocsin.core.errors import Conflict
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId, OrganisationId
from tocsin.pipeline.destinations import DestinationBounds

FOREIGN = OrganisationId(b"f" * 16)
TWO = DestinationBounds(per_organisation_max=2)
GLOBS = DestinationBounds(globs_max=3, glob_characters_max=12)


async def refused(made: Any) -> str:
    with pytest.raises(Conflict) as caught:
        await made
    return refusal(caught.value)[1]


def test_there_are_as_many_destinations_as_may_be_whichever_routes_made_them(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.destination("a", origin=Dialect.PROMPTJANG)
        await stage.destination("b", enabled=False)
        for origin in (Dialect.TOCSIN, Dialect.PROMPTJANG, Dialect.NATIVEFRAME):
            assert await refused(stage.destination("c", origin=origin)) == "destination_limit_reached"
        await stage.change(first, name="changed at the limit")
        await stage.destination("a", organisation_id=FOREIGN)
        await stage.destinations.delete(DEFAULT_ORGANISATION, first.id)
        await stage.destination("c")

    run(tmp_path, scenario, sending=False, bounds=TWO)


def test_of_many_that_come_at_once_the_last_place_is_given_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("a")
        made = await asyncio.gather(*(stage.destination(str(each)) for each in range(8)), return_exceptions=True)
        assert [isinstance(each, Destination) for each in made].count(True) == 1
        assert {refusal(each)[1] for each in made if isinstance(each, Conflict)} == {"destination_limit_reached"}
        assert len(stage.catalog.destinations(DEFAULT_ORGANISATION)) == 2

    run(tmp_path, scenario, sending=False, bounds=TWO)


def test_what_an_account_stores_counts_and_is_not_refused(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination("a")
        contact = msgspec.structs.replace(
            made, id=DestinationId(bytes(16)), name="email", origin=Dialect.PINGPILOT, revision=0
        )
        await stage.catalog.save(contact)
        assert await refused(stage.destination("b")) == "destination_limit_reached"

    run(tmp_path, scenario, sending=False, bounds=TWO)


@pytest.mark.parametrize(
    "over",
    [
        Filter(sources=("a*", "b?"), subjects=("[c]",), types=("d*",)),
        Filter(types=("a" * 12 + "*",)),
    ],
)
def test_all_filters_together_hold_as_many_globs_as_may_be(tmp_path: Path, over: Filter) -> None:
    async def scenario(stage: Stage) -> None:
        assert await refused(stage.destination("a", filter=over)) == "glob_limit_reached"
        exact = Filter(sources=("x" * 256,) * 100, where="items[*].a")
        await stage.destination("exact", filter=exact)
        one = await stage.destination("a", filter=Filter(types=("a*",)))
        two = await stage.destination("b", filter=Filter(types=("a*",), subjects=("12345678",)))
        assert await refused(stage.destination("c", filter=Filter(sources=("a?", "b?")))) == "glob_limit_reached"
        assert await refused(stage.change(two, filter=over)) == "glob_limit_reached"
        await stage.change(two, filter=Filter(types=("*234567890",)))
        assert await refused(stage.change(one, filter=Filter(types=("abc*",)))) == "glob_limit_reached"
        await stage.change(one, filter=Filter())
        await stage.destination("c", organisation_id=FOREIGN, filter=Filter(types=("a*",) * 3))

    run(tmp_path, scenario, sending=False, bounds=GLOBS)


def test_changes_that_come_at_once_stay_within_the_bound_together(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = [await stage.destination(str(each)) for each in range(6)]
        wanted = Filter(types=("a*", "b*"))
        changed = await asyncio.gather(*(stage.change(each, filter=wanted) for each in made), return_exceptions=True)
        assert [isinstance(each, Destination) for each in changed].count(True) == 1

    run(tmp_path, scenario, sending=False, bounds=GLOBS)


def test_what_stood_before_a_bound_was_lowered_may_stay_and_shrink(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination("a", filter=Filter(types=("a*", "b*", "c*")))
        many = msgspec.structs.replace(made, filter=Filter(types=tuple(f"{each}*" for each in range(9))))
        await stage.catalog.save(many)
        await stage.change(made, name="b", address={"url": NOWHERE})
        await stage.change(made, filter=Filter(types=tuple(f"{each}*" for each in range(8))))
        assert await refused(stage.change(made, filter=Filter(types=("a*",) * 9))) == "glob_limit_reached"

    run(tmp_path, scenario, sending=False, bounds=GLOBS)
