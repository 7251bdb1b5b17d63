"""Telling people: the incident as it stands, the message to edit, and the line about quiet hours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, Delivered, DeliveryState, Outcome, Posted
from tocsin.core.destination import Destination, IncidentStyle, Transport
from tocsin.core.errors import Unavailable
from tocsin.core.event import Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.core.incident import IncidentAction, IncidentChange, IncidentState
from tocsin.core.quiet_hours import QuietHours
from tocsin.engine.rows import Retry
from tocsin.pipeline.ingest import Receipt
from tocsin.pipeline.telling import Telling
from tocsin.testing.clock import START_MS
from tocsin.transports import protocol
from tocsin.transports.protocol import Shipment

HOUR_MS = 3_600_000
MORNING_MS = START_MS + 7 * HOUR_MS
NIGHT = QuietHours(start="22:00", end="07:00")
ADDRESS = {"webhook_url": "https://discord.example/api/webhooks/1/a"}
A, C, U = IncidentAction.CREATE, IncidentAction.CLOSE, IncidentAction.UPDATE


def play(directory: Path, scenario: Callable[[Stage], Awaitable[None]], *, edits: bool = True) -> None:
    """Play a scenario in which Discord's far end is the test's, which calls its messages m-1, m-2, ..."""

    def transports(stage: Stage) -> Mapping[Transport, protocol.Transport]:
        stage.remote.answer = lambda shipment: _posted(stage, shipment)
        telling = Telling(stage.remote, engine=stage.engine, clock=stage.clock, edits=edits)
        return {Transport.DISCORD: telling}

    run(directory, scenario, transports=transports)


def _posted(stage: Stage, shipment: Shipment) -> Outcome:
    remote_id = f"m-{len(stage.remote.started)}" if shipment.posted is None else shipment.posted.remote_id
    return Delivered(stage.remote.attempt(200, remote_id=remote_id))


async def chat(stage: Stage, **fields: Any) -> Destination:
    """Store a Discord destination."""
    given: dict[str, Any] = {"transport": Transport.DISCORD, "address": ADDRESS}
    return await stage.destination("chat", **(given | fields))


def change(action: IncidentAction, incident_id: EventId | None, title: str = "it burns") -> IncidentChange:
    """Return what an event does to its incident."""
    return IncidentChange(
        action=action, channel="ops", at_ms=START_MS, incident_id=incident_id, profile={"title": title}
    )


async def tell(
    stage: Stage, *actions: IncidentAction, opened: EventId | None = None, severity: Severity | None = None
) -> EventId:
    """Let events of one incident come in, each when the one before was delivered; return the incident's id."""
    for number, action in enumerate(actions):
        subject = None if opened is None else opened.hex()
        draft = stage.draft(incident=change(action, opened, f"t{number}"), subject=subject, severity=severity)
        receipt = await stage.ingest.accept(draft)
        opened = receipt.event_id if opened is None else opened
        await stage.until_all(receipt.deliveries, DeliveryState.DELIVERED)
    assert opened is not None
    return opened


def edited(stage: Stage) -> list[str | None]:
    """Return for each attempt which message it was to edit."""
    return [None if each.posted is None else each.posted.remote_id for each in stage.remote.started]


def notes(stage: Stage) -> list[str]:
    """Return the line of ours above each message."""
    return [each.note for each in stage.remote.started]


def test_an_incidents_message_is_edited_and_each_incident_has_its_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage)
        await tell(stage, A, U, C)
        await tell(stage, A, U)
        assert edited(stage) == [None, "m-1", "m-1", None, "m-4"]
        states = [each.incident.state for each in stage.remote.started if each.incident is not None]
        assert states == [
            IncidentState.ONGOING,
            IncidentState.ONGOING,
            IncidentState.CLOSED,
            *[IncidentState.ONGOING] * 2,
        ]
        titles = [each.incident.profile["title"] for each in stage.remote.started if each.incident is not None]
        assert titles == ["t0", "t1", "t2", "t0", "t1"]

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "edits"),
    [
        ({"incidents": IncidentStyle.POST}, True),
        ({"ordered": False}, True),
        ({}, False),
    ],
    ids=["as asked for", "without order", "a remote that cannot"],
)
def test_another_message_is_sent_where_none_is_to_be_edited(
    tmp_path: Path, fields: dict[str, Any], edits: bool
) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, **fields)
        await tell(stage, A, U, C)
        assert edited(stage) == [None] * 3
        assert all(each.incident is not None for each in stage.remote.started)

    play(tmp_path, scenario, edits=edits)


def test_without_order_editing_ends_although_messages_are_known(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        opened = await tell(stage, A)
        await stage.change(made, incidents=IncidentStyle.POST, ordered=False)
        await tell(stage, U, opened=opened)
        assert edited(stage) == [None, None]

    play(tmp_path, scenario)


def test_what_is_no_incident_is_told_as_it_is(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage)
        for subject in ("s", None):
            await stage.until_all(await stage.accept(subject=subject), DeliveryState.DELIVERED)
        assert edited(stage) == [None, None]
        assert [each.incident for each in stage.remote.started] == [None, None]

    play(tmp_path, scenario)


def test_what_told_an_incident_at_night_is_edited_in_the_morning(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        opened = await tell(stage, A, U, severity=Severity.CRITICAL)
        assert edited(stage) == [None, "m-1"]
        stage.clock.set_ms(MORNING_MS)
        await tell(stage, C, opened=opened)
        assert edited(stage) == [None, "m-1", "m-1"]

    play(tmp_path, scenario)


def test_the_message_that_came_last_is_the_one_that_is_edited(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        opened = await tell(stage, A)
        await stage.change(made, incidents=IncidentStyle.POST)
        await tell(stage, U, opened=opened)
        await stage.change(made, incidents=IncidentStyle.EDIT)
        await tell(stage, U, opened=opened)
        assert edited(stage) == [None, None, "m-2"]

    play(tmp_path, scenario)


def test_nor_is_it_the_one_of_the_night_where_another_came_since(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage, quiet_hours=NIGHT)
        opened = await tell(stage, A, severity=Severity.CRITICAL)
        stage.clock.set_ms(MORNING_MS)
        await stage.change(made, incidents=IncidentStyle.POST)
        await tell(stage, U, opened=opened)
        await stage.change(made, incidents=IncidentStyle.EDIT)
        await tell(stage, U, opened=opened)
        assert edited(stage) == [None, None, "m-2"]

    play(tmp_path, scenario)


LATER = "(nothing was sent: a later message tells how the incident stands)"


@pytest.mark.parametrize("style", list(IncidentStyle))
def test_an_older_event_that_is_tried_again_by_hand_does_not_take_the_message_back(
    tmp_path: Path, style: IncidentStyle
) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage, incidents=style)
        await tell(stage, A, U, C)
        closed, updated, _ = [row.delivery.id for row in await stage.rows_of(made)]
        for number, each in enumerate((updated, closed)):
            await stage.engine.amend([Retry(DEFAULT_ORGANISATION, each, stage.clock.now_ms())])
            await stage.until_recorded(4 + number)
        assert set(await stage.states([updated, closed])) == {DeliveryState.DELIVERED}
        again = [each.lease.delivery_id for each in stage.remote.started[3:]]
        *_, told = await stage.attempts(updated)
        if style is IncidentStyle.POST:
            assert (again, told.attempt.status_code) == ([updated, closed], 200)
        else:
            assert (again, edited(stage)[-1]) == ([closed], "m-1"), "what stands may be told again"
            assert (told.number, told.attempt.exchange.request_line) == (2, LATER)
            assert (told.attempt.status_code, told.attempt.error) == (None, None)

    play(tmp_path, scenario)


async def held_back(stage: Stage, action: IncidentAction, opened: EventId | None = None) -> Receipt:
    """Let an event of an incident come in that quiet hours hold back."""
    subject = None if opened is None else opened.hex()
    return await stage.ingest.accept(stage.draft(incident=change(action, opened), subject=subject))


def test_what_opened_an_incident_at_night_is_not_told_below_what_was_critical_since(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        held = await held_back(stage, A)
        await tell(stage, U, opened=held.event_id, severity=Severity.CRITICAL)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held.deliveries, DeliveryState.DELIVERED)
        assert edited(stage) == [None]
        await tell(stage, C, opened=held.event_id)
        assert edited(stage) == [None, "m-1"]

    play(tmp_path, scenario)


def test_what_opened_an_incident_is_told_in_the_morning_where_nothing_stands(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        held = await held_back(stage, A)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held.deliveries, DeliveryState.DELIVERED)
        assert edited(stage) == [None]

    play(tmp_path, scenario)


def test_the_line_about_quiet_hours_stands_above_a_message_of_its_own(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        opened = await tell(stage, A, severity=Severity.CRITICAL)
        held = await held_back(stage, U, opened)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held.deliveries, DeliveryState.DELIVERED)
        await tell(stage, C, opened=opened)
        assert edited(stage) == [None, None, "m-2"]
        assert [bool(each) for each in notes(stage)] == [False, True, False]

    play(tmp_path, scenario)


def test_where_nothing_is_sent_the_next_message_has_the_line(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        first = await held_back(stage, A)
        await tell(stage, U, opened=first.event_id, severity=Severity.CRITICAL)
        others = await stage.accept(2)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all([*first.deliveries, *others], DeliveryState.DELIVERED)
        assert [each.lease.delivery_id for each in stage.remote.started[1:]] == others
        assert [bool(each) for each in notes(stage)] == [False, True, False]

    play(tmp_path, scenario)


def test_an_incident_that_becomes_critical_is_told_by_another_message(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage)
        opened = await tell(stage, A, U, severity=Severity.HIGH)
        await tell(stage, U, U, opened=opened, severity=Severity.CRITICAL)
        await tell(stage, U, opened=opened, severity=Severity.HIGH)
        await tell(stage, U, C, opened=opened, severity=Severity.CRITICAL)
        assert edited(stage) == [None, "m-1", None, "m-3", "m-3", None, "m-6"]

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("count", "line"),
    [
        (1, "🌙 Held back during quiet hours, 22:00 to 07:00 UTC"),
        (20, "🌙 20 messages were held back during quiet hours, 22:00 to 07:00 UTC"),
    ],
)
def test_the_first_message_after_quiet_hours_says_how_many_were_held_back(
    tmp_path: Path, count: int, line: str
) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        held = await stage.accept(count)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held, DeliveryState.DELIVERED)
        later = await stage.accept()
        await stage.until_all(later, DeliveryState.DELIVERED)
        assert notes(stage) == [line, *[""] * count]
        assert [each.lease.delivery_id for each in stage.remote.started] == held + later

    play(tmp_path, scenario)


def test_several_at_once_have_one_such_line(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT, concurrency=8)
        held = await stage.accept(8)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held, DeliveryState.DELIVERED)
        assert sum(note != "" for note in notes(stage)) == 1

    play(tmp_path, scenario)


def test_a_message_that_is_tried_again_keeps_the_line(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        held = await stage.accept(2)
        stage.remote.answer = lambda shipment: (
            stage.remote.deliver(shipment)
            if shipment.lease.attempts_made
            else Deferred(stage.remote.attempt(), 1.0, rest_s=0.0)
        )
        stage.clock.set_ms(MORNING_MS)
        await stage.until_recorded(2)
        while not await stage.all_are(held, DeliveryState.DELIVERED):
            stage.clock.set_ms(stage.clock.now_ms() + HOUR_MS // 4)
            await stage.until_looked()
        noted = {each.lease.delivery_id for each in stage.remote.started if each.note}
        assert noted == {held[0]}
        assert [bool(each.note) for each in stage.remote.started if each.lease.delivery_id == held[0]] == [True] * 2

    play(tmp_path, scenario)


def test_each_night_has_its_line(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        for night in range(2):
            stage.clock.set_ms(START_MS + night * 24 * HOUR_MS)
            held = await stage.accept(2)
            stage.clock.set_ms(MORNING_MS + night * 24 * HOUR_MS)
            await stage.until_all(held, DeliveryState.DELIVERED)
        assert [bool(note) for note in notes(stage)] == [True, False] * 2

    play(tmp_path, scenario)


def test_what_was_critical_was_not_held_back(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, quiet_hours=NIGHT)
        stage.remote.answer = lambda shipment: (
            stage.remote.deliver(shipment) if shipment.lease.attempts_made else stage.remote.fail(shipment)
        )
        urgent = await stage.accept(severity=Severity.CRITICAL)
        await stage.until_recorded(1)
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(urgent, DeliveryState.DELIVERED)
        assert notes(stage) == ["", ""]

    play(tmp_path, scenario)


def test_what_was_let_go_by_hand_has_no_such_line(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage, quiet_hours=NIGHT)
        held = await stage.accept(2)
        await stage.change(made, quiet_hours=None)
        await stage.until_all(held, DeliveryState.DELIVERED)
        assert notes(stage) == ["", ""]

    play(tmp_path, scenario)


def test_a_store_that_does_not_answer_is_no_end_of_the_message(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage)
        await tell(stage, A, U)
        broken = Telling(stage.remote, engine=_Silent(), clock=stage.clock, edits=True)  # type: ignore[arg-type]
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        broken.start(stage.remote.started[-1], lambda _, outcome: told.set_result(outcome))
        outcome = await told
        assert isinstance(outcome, Deferred)
        assert "Unavailable" in (outcome.attempt.error or "")

    play(tmp_path, scenario)


class _Silent:
    """An engine that does not answer."""

    async def find(self, *_: object) -> list[Posted | None]:
        """Refuse."""
        raise Unavailable("the store does not answer")
