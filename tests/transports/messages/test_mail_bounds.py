"""Mails that do not show all of a message say so."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.core.identifiers import DestinationId
from tocsin.transports.mail_addresses import MailAddress, parse_sender
from tocsin.transports.messages.mail import CHARACTERS_MAX, HEADING_MAX, NAME_MAX, mail_of
from tocsin.transports.messages.message import Field
from transports.messages.samples import EVENT_ID, TIME_MS, message


@pytest.mark.parametrize(
    ("changes", "truncated"),
    [
        ({}, False),
        ({"text": "t" * CHARACTERS_MAX}, False),
        ({"text": "t" * (CHARACTERS_MAX + 1)}, True),
        ({"text": "t" * (CHARACTERS_MAX + 9)}, True),
        ({"heading": "h" * (HEADING_MAX - 3)}, False),
        ({"heading": "h" * (HEADING_MAX - 2)}, True),
        ({"fields": (Field("n" * NAME_MAX, "v"),)}, False),
        ({"fields": (Field("n" * (NAME_MAX + 1), "v"),)}, True),
        ({"text": "t" * CHARACTERS_MAX, "fields": (Field("name", "v"),)}, True),
        ({"omitted": 1}, True),
        ({"shortened": True}, True),
    ],
)
def test_what_is_cut_or_left_out_is_marked(changes: dict[str, Any], truncated: bool) -> None:
    written = mail_of(
        message(**changes),
        sender=parse_sender("Tocsin <alerts@example.com>"),
        to=[MailAddress("ann", "a.example")],
        subject="PingPilot Alert",
        event_id=EVENT_ID,
        destination_id=DestinationId(bytes(16)),
        date_ms=TIME_MS,
    )
    assert written.truncated is truncated
