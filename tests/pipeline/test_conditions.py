"""Conditions on the data, however an event comes to be routed, and what becomes of those that cannot be evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from pipeline.stage import Stage, refusal, run
from tocsin.core import condition
from tocsin.core.condition import read_condition
from tocsin.core.destination import Destination, Filter
from tocsin.core.errors import TocsinError, Unprocessable
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.pipeline.conditions import ConditionLimits
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.pipeline.replay import Replay


async def with_condition(stage: Stage, where: str | None, name: str = "a", **wanted: Any) -> Destination:
    return await stage.destination(name, filter=Filter(where=where, **wanted))


async def count(stage: Stage, destination: Destination) -> int:
    return len(await stage.rows_of(destination))


def failures(stage: Stage) -> float:
    lines = stage.metrics.exposition().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tocsin_condition_failures_total"))


def test_only_what_meets_the_condition_gets_through(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        large = await with_condition(stage, "amount > `100`", "large")
        euro = await with_condition(stage, "currency == 'EUR'", "euro")
        every = await stage.destination("every")
        both = await with_condition(stage, "amount > `100`", "both", types=("paid",))
        for data in (b'{"amount": 500}', b'{"amount": 5, "currency": "EUR"}', b"[1]", b'"text"', b"null"):
            await stage.accept(data=data)
        await stage.accept(data=b'{"amount": 500, "currency": "EUR"}', type="paid")
        assert [await count(stage, each) for each in (large, euro, every, both)] == [2, 2, 6, 1]
        assert failures(stage) == 0

    run(tmp_path, scenario, sending=False)


def test_a_replay_is_asked_anew_by_the_condition_of_today(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        destination = await with_condition(stage, "a == `2`")
        receipt = await stage.ingest.accept(stage.draft(data=b'{"a": 1}'))
        assert await count(stage, destination) == 0
        replay = Replay(engine=stage.engine, ingest=stage.ingest, clock=stage.clock)
        await replay.replay(DEFAULT_ORGANISATION, receipt.event_id)
        assert await count(stage, destination) == 0
        await stage.change(destination, filter=Filter(where="a == `1`"))
        await replay.replay(DEFAULT_ORGANISATION, receipt.event_id)
        assert await count(stage, destination) == 1

    run(tmp_path, scenario, sending=False)


def test_a_test_goes_to_its_destination_and_by_the_others_conditions_to_nobody_else(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        tested = await with_condition(stage, "never", "tested")
        other = await with_condition(stage, "destination", "other")
        receipt = await stage.destinations.test(DEFAULT_ORGANISATION, tested.id)
        assert len(receipt.deliveries) == 1
        assert [await count(stage, each) for each in (tested, other)] == [1, 0]

    run(tmp_path, scenario, sending=False)


def test_the_data_are_decoded_once_and_only_for_those_who_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    read = condition._read

    def counting(data: bytes) -> Any:
        decoded.append(data)
        return read(data)

    async def scenario(stage: Stage) -> None:
        monkeypatch.setattr(condition, "_read", counting)
        await stage.destination("plain")
        await stage.accept(data=b'{"a": 1}')
        assert decoded == []
        for number in range(5):
            await with_condition(stage, f"a == `{number}`", str(number))
        await with_condition(stage, "a", "another type", types=("other",))
        decoded.clear()
        read_before = read_condition.cache_info()
        await stage.accept(3, data=b'{"a": 2}')
        assert decoded == [b'{"a": 2}'] * 3
        read_after = read_condition.cache_info()
        # Of one routing table for three events, each condition is read once.
        assert (read_after.hits + read_after.misses) - (read_before.hits + read_before.misses) == 6

    run(tmp_path, scenario, sending=False)


def test_a_condition_whose_destination_is_out_of_the_question_is_not_asked(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await with_condition(stage, "length(missing)", types=("other",))
        await with_condition(stage, "length(missing)", "off")
        (off,) = [each for each in stage.catalog.destinations(DEFAULT_ORGANISATION) if each.name == "off"]
        await stage.change(off, enabled=False)
        await stage.accept()
        assert failures(stage) == 0

    run(tmp_path, scenario, sending=False)


# -- failures ----------------------------------------------------------------------------------------------


def test_what_cannot_be_evaluated_does_not_match_is_counted_told_once_and_shown(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        broken = await with_condition(stage, "length(missing) > `1`")
        sound = await with_condition(stage, "a", "sound")
        assert stage.destinations.condition_failure(broken) is None
        with capture_logs() as logs:
            await stage.accept(2)
            stage.clock.advance_ms(5)
            receipt = await stage.ingest.accept(stage.draft())
        assert [await count(stage, each) for each in (broken, sound)] == [0, 3]
        assert failures(stage) == 3
        assert [(each["event"], each["destination"]) for each in logs] == [("condition_failed", broken.id.hex())]
        failure = stage.destinations.condition_failure(broken)
        assert failure is not None
        assert (failure.count, failure.event_id, failure.at_ms) == (3, receipt.event_id, stage.clock.now_ms())
        assert failure.reason == "length() does not take a value of type null"
        assert stage.destinations.condition_failure(sound) is None

    run(tmp_path, scenario, sending=False)


def test_another_condition_starts_with_a_clean_slate(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        broken = await with_condition(stage, "sum(a)")
        await stage.accept(2)
        mended = await stage.change(broken, filter=Filter(where="sum(b)"))
        assert stage.destinations.condition_failure(mended) is None
        await stage.accept()
        failure = stage.destinations.condition_failure(mended)
        assert failure is not None
        assert failure.count == 1

    run(tmp_path, scenario, sending=False)


def test_as_many_failures_are_remembered_as_the_setting_says(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = [await with_condition(stage, "sum(a)", str(number)) for number in range(4)]
        await stage.accept()
        known = [stage.destinations.condition_failure(each) is not None for each in made]
        assert known == [False, False, True, True]

    run(tmp_path, scenario, sending=False, conditions=ConditionLimits(failures_kept_max=2))


def test_an_event_has_so_many_steps_for_all_and_the_oldest_destinations_take_theirs_first(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = [await with_condition(stage, "a || b || c", str(number)) for number in range(5)]
        await stage.accept(data=b'{"c": 1}')
        assert [await count(stage, each) for each in made] == [1, 1, 0, 0, 0]
        assert failures(stage) == 3

    run(tmp_path, scenario, sending=False, conditions=ConditionLimits(event_steps_max=12))


# -- what is taken -----------------------------------------------------------------------------------------


async def refused(stage: Stage, where: str) -> tuple[TocsinError, str]:
    with pytest.raises(TocsinError) as made:
        await with_condition(stage, where)
    existing = await stage.destination("existing")
    with pytest.raises(TocsinError) as changed:
        await stage.change(existing, filter=Filter(where=where))
    await stage.catalog.remove(Destination, DEFAULT_ORGANISATION, existing.id)
    assert refusal(made.value) == refusal(changed.value) == (Unprocessable, "invalid_condition")
    assert made.value.fields == changed.value.fields
    ((name, reason),) = made.value.fields
    assert name == "filter.where"
    return made.value, reason


def test_a_condition_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        error, reason = await refused(stage, "a == ")
        assert reason == "is not a whole JMESPath expression: it ends too early (at character 6)"
        assert error.detail == f"filter.where {reason}"
        assert stage.catalog.destinations(DEFAULT_ORGANISATION) == []

    run(tmp_path, scenario, sending=False)


def test_the_text_and_the_depth_of_a_condition_are_bounded(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        assert (await refused(stage, "!" * 5 + "a"))[1] == "is nested more than 5 levels deep"
        await with_condition(stage, "!" * 4 + "a", "deep enough")
        assert (await refused(stage, "a" * 21))[1] == "has more than 20 characters"
        await with_condition(stage, "a" * 20, "long enough")

    bounds = DestinationBounds(condition_characters_max=20, condition_depth_max=5)
    run(tmp_path, scenario, sending=False, bounds=bounds)


def test_a_change_of_something_else_leaves_a_stored_condition_alone(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        destination = await stage.destination()
        # As one that was stored under wider bounds, or by a version that took more.
        stored = msgspec.structs.replace(destination, filter=Filter(where="a ="))
        await stage.catalog.save(stored)
        assert (await stage.change(stored, name="b")).name == "b"
        await stage.accept()
        assert await count(stage, destination) == 0
        assert failures(stage) == 1

    run(tmp_path, scenario, sending=False)
