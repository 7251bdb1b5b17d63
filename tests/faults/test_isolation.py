"""Row 10: a destination that hangs and has half of the traffic costs the others nothing.

Counted, not timed: every event for a healthy destination is on its way before the next is accepted.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.stage import PATIENCE_S, QUICK, Stage, run
from receivers import LOOPBACK, Receiver, hang
from tocsin.core.delivery import Delivered, DeliveryState, Outcome
from tocsin.core.destination import Destination, Filter, Transport
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client
from tocsin.transports.protocol import Shipment
from tocsin.transports.webhook import WebhookTransport

ROUNDS = 300


def only(source: str) -> Filter:
    return Filter(sources=(source,))


async def alternate(stage: Stage, hung: list[str]) -> None:
    """Store events for those that hang and for the healthy one in turns; each healthy one must start at once."""
    for number in range(1, ROUNDS + 1):
        await stage.accept(source=hung[number % len(hung)])
        (delivery_id,) = await stage.accept(source="healthy")
        begun = [each.lease.delivery_id for each in stage.remote.started if each.lease.event.source == "healthy"]
        assert len(begun) == number, f"healthy event {number} waits"
        assert begun[-1] == delivery_id


def test_one_that_hangs_delays_no_other(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("hung", filter=only("hung"))
        await stage.destination("healthy", filter=only("healthy"))
        stage.remote.answers["hung"] = stage.remote.hang
        await alternate(stage, ["hung"])
        assert len(stage.remote.sent_to("hung")) == 32, "its own concurrency, and not one attempt more"
        assert sum(stage.engine.batches["claim"]) <= ROUNDS, "nothing is leased over and over"

    run(tmp_path, scenario)


def test_the_control_in_a_lane_of_their_own_both_the_healthy_wait(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("shared")

        def far(shipment: Shipment) -> Outcome | None:
            return None if shipment.lease.event.source == "hung" else Delivered(stage.remote.attempt(200))

        stage.remote.answer = far
        with pytest.raises(AssertionError, match="waits"):
            await alternate(stage, ["hung"])

    run(tmp_path, scenario)


FEW = DispatchLimits(poll_s=0.01, sending_max=16, held_max=64)
"""Room that four hanging destinations of the usual concurrency would fill several times over."""


def test_as_many_as_could_fill_the_gateway_delay_no_other(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        hung = [f"hung{number}" for number in range(4)]
        for name in hung:
            await stage.destination(name, filter=only(name))
            stage.remote.answers[name] = stage.remote.hang
        await stage.destination("healthy", filter=only("healthy"))
        await alternate(stage, hung)
        assert stage.remote.most_at_once <= 16

    run(tmp_path, scenario, dispatch=FEW)


def test_a_backlog_for_those_that_hang_delays_no_backlog_of_another(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made: list[Destination] = []
        for name in ("hung0", "hung1", "hung2", "healthy"):
            each = await stage.destination(name, filter=only(name))
            made.append(await stage.change(each, paused=True))
            await stage.accept_at_once(100, source=name)
        for name in ("hung0", "hung1", "hung2"):
            stage.remote.answers[name] = stage.remote.hang
        for each in made:
            await stage.change(each, paused=False)
        waiting = [row.delivery.id for row in await stage.rows_of(made[-1])]
        assert len(waiting) == 100
        await stage.until_all(waiting, DeliveryState.DELIVERED)

    run(tmp_path, scenario, dispatch=FEW)


def test_over_http_a_receiver_that_never_answers_delays_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        client = Client(AddressPolicy(LOOPBACK))
        stage = Stage(
            tmp_path,
            dispatch=QUICK,
            transports=lambda stage: {Transport.WEBHOOK: WebhookTransport(client, clock=stage.clock)},
        )
        async with Receiver(hang) as hung, Receiver() as healthy, asyncio.timeout(PATIENCE_S):
            await client.open()
            await stage.open()
            try:
                await stage.destination("hung", filter=only("hung"), address={"url": hung.url()})
                await stage.destination("healthy", filter=only("healthy"), address={"url": healthy.url()})
                ids = []
                for _ in range(ROUNDS):
                    await stage.accept(source="hung")
                    ids += await stage.accept(source="healthy")
                await stage.until_all(ids, DeliveryState.DELIVERED)
                assert len(healthy.requests) == ROUNDS
                assert 1 <= len(hung.requests) <= 32
            finally:
                await stage.close(patience_s=0.0)
                await client.close()

    asyncio.run(main())
