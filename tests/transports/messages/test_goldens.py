"""Whole events and exactly what Discord and Telegram get of them.

Each file holds an event, its incident where it has one, and what is expected. What differs is printed whole, so that
it can be read, and copied where the change was meant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tocsin.core.environment import Environment
from tocsin.core.event import Dialect, Event, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, EventId
from tocsin.core.incident import Incident, IncidentState
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.telegram import telegram_texts
from transports.messages.samples import event

GOLDENS = sorted((Path(__file__).parent / "goldens").glob("*.json"))


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_an_event_is_told_as_its_golden_says(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    message = compose(_event(golden["event"]), _incident(golden.get("incident")), golden.get("note", ""))
    payload, told = discord_payload(message), telegram_texts(message)
    got = {
        "discord": payload.body,
        "discord_truncated": payload.truncated,
        "telegram": [text.split("\n") for text in told.texts],
        "telegram_truncated": told.truncated,
    }
    assert got == {name: golden[name] for name in got}, json.dumps(got, ensure_ascii=False, indent=2)


def test_there_are_goldens() -> None:
    assert len(GOLDENS) >= 12


def _event(written: dict[str, Any]) -> Event:
    """Return a golden's event; ``data`` is JSON, or ``data_text`` the document as it was sent."""
    changes: dict[str, Any] = {"extension": {}, **written, "dialect": Dialect(written["dialect"])}
    changes["data"] = (
        changes.pop("data_text").encode() if "data_text" in changes else msgspec.json.encode(written["data"])
    )
    if "id" in changes:
        changes["id"] = EventId(bytes.fromhex(changes["id"]))
    for name, kind in (("severity", Severity), ("incident_state", IncidentState), ("environment", Environment)):
        if name in changes:
            changes[name] = kind(changes[name])
    return event(**changes)


def _incident(written: dict[str, Any] | None) -> Incident | None:
    if written is None:
        return None
    return Incident(
        **{
            **written,
            "id": EventId(bytes.fromhex(written["id"])),
            "organisation_id": DEFAULT_ORGANISATION,
            "state": IncidentState(written["state"]),
        }
    )
