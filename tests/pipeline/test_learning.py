"""What remotes tell of addresses: kept, unless the address is another by then, and forgotten with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, Delivered, DeliveryState
from tocsin.core.destination import Destination, Transport
from tocsin.engine.rows import Save

ADDRESS = {"bot_token": "1:a", "chat_id": "7"}
MOVED = {"chat_id": -1007}


def play(directory: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    """Play a scenario in which Telegram's far end is the test's."""
    run(directory, scenario, transports=lambda stage: {Transport.TELEGRAM: stage.remote})


async def chat(stage: Stage) -> Destination:
    """Store a Telegram destination."""
    return await stage.destination("chat", transport=Transport.TELEGRAM, address=ADDRESS)


def now(stage: Stage, destination: Destination) -> Destination:
    """Return a destination as it stands."""
    return stage.destinations.get(destination.organisation_id, destination.id)


async def until_learned(stage: Stage, destination: Destination, learned: dict[str, Any]) -> None:
    """Return once this is what the destination has learned; each look at the store lets the writer have its turn."""
    while now(stage, destination).learned != learned:
        await stage.engine.probe()
        await stage.catalog.refresh()


async def settled(stage: Stage, destination: Destination) -> None:
    """Let whoever keeps it write down what it was told: wait for a few rounds in which nothing changed any more."""
    quiet, before = 0, -1
    while quiet < 5:
        await stage.engine.probe()
        await stage.catalog.refresh()
        revision = now(stage, destination).revision
        quiet, before = (quiet + 1 if revision == before else 0), revision


def test_what_a_remote_tells_of_an_address_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        stage.remote.answer = lambda _: Delivered(stage.remote.attempt(200), learned=MOVED)
        await stage.accept()
        await until_learned(stage, made, MOVED)
        assert now(stage, made).address == {"bot_token": "***", "chat_id": "7"}

    async def after(stage: Stage) -> None:
        (found,) = stage.catalog.all_destinations()
        assert found.learned == MOVED

    play(tmp_path, scenario)
    play(tmp_path, after)


def test_an_attempt_that_failed_tells_it_too(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        stage.remote.answer = lambda _: Deferred(stage.remote.attempt(503), learned=MOVED)
        await stage.accept()
        await until_learned(stage, made, MOVED)

    play(tmp_path, scenario)


def test_the_next_attempt_knows_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        stage.remote.answer = lambda _: Delivered(stage.remote.attempt(200), learned=MOVED)
        await stage.accept()
        await until_learned(stage, made, MOVED)
        await stage.until_all(await stage.accept(), DeliveryState.DELIVERED)
        assert stage.remote.started[-1].target.destination.learned == MOVED

    play(tmp_path, scenario)


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        stage.learning.note(made, MOVED)
        await until_learned(stage, made, MOVED)
        revision = now(stage, made).revision
        stage.learning.note(now(stage, made), MOVED)
        await settled(stage, made)
        assert now(stage, made).revision == revision

    play(tmp_path, scenario)


def test_what_is_told_of_an_address_that_is_another_by_now_is_forgotten(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        for changed in ({"chat_id": "8"}, {"bot_token": "2:b", "chat_id": "7"}):
            await stage.change(made, address=changed)
            stage.learning.note(made, MOVED)
            await settled(stage, made)
            assert now(stage, made).learned == {}

    play(tmp_path, scenario)


def test_another_address_forgets_it_and_the_same_one_does_not(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        stage.learning.note(made, MOVED)
        await until_learned(stage, made, MOVED)
        assert (await stage.change(made, address=ADDRESS)).learned == MOVED
        assert (await stage.change(made, name="other")).learned == MOVED
        assert (await stage.change(made, address={"bot_token": "2:b"} | MOVED)).learned == {}

    play(tmp_path, scenario)


def test_a_change_of_the_same_time_that_came_first_stops_nobody(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        one, other = await chat(stage), await chat(stage)
        await stage.engine.catalog_write([Save(msgspec.structs.replace(one, name="renamed elsewhere"))])
        stage.learning.note(one, MOVED)
        stage.learning.note(other, MOVED)
        await until_learned(stage, other, MOVED)
        assert (now(stage, one).name, now(stage, one).learned) == ("renamed elsewhere", {})

    play(tmp_path, scenario)
