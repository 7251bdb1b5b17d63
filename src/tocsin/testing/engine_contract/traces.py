"""What an event keeps of the trace that it belongs to."""

from __future__ import annotations

from tocsin.core.event import Event
from tocsin.testing.engine_contract.stage import Stage, scenario

_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class TraceContract:
    """An event's trace is kept with it, and apart from its extension."""

    @scenario
    async def test_a_trace_comes_back_with_its_event_and_with_its_leases(self, stage: Stage) -> None:
        for extension in ({}, {"said": "this"}):
            (destination,) = stage.destinations(1)
            event = stage.event(trace=_TRACE, extension=extension)
            await stage.store(stage.new(destination, event=event))
            (found,) = await stage.engine.find(Event, stage.organisation, [event.id])
            leased = (await stage.claim_one()).event
            for each in (found, leased):
                assert each is not None
                assert (each.trace, each.extension) == (_TRACE, extension)

    @scenario
    async def test_an_event_without_a_trace_has_none(self, stage: Stage) -> None:
        event = stage.event(extension={"said": "this"})
        await stage.store(stage.new(event=event))
        (found,) = await stage.engine.find(Event, stage.organisation, [event.id])
        assert found is not None
        assert (found.trace, found.extension) == (None, {"said": "this"})
