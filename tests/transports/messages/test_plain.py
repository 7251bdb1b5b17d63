"""A message as a title and a text: lines of ours cannot be forged, and its length has a bound."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.transports.messages.cutting import units
from tocsin.transports.messages.message import Field, Message, Template
from tocsin.transports.messages.plain import BODY_MAX, TITLE_MAX, plain_text


def made(**fields: Any) -> Message:
    usual: dict[str, Any] = {
        "template": Template.PLAIN,
        "emoji": "\U0001f514",
        "heading": "disk.full",
        "text": "no room",
        "color": 0,
        "time_ms": 0,
    }
    return Message(**usual | fields)


def test_everything_has_its_place() -> None:
    told = plain_text(
        made(
            note="3 waited",
            fields=(Field("host", "a"), Field("used", "99 %")),
            omitted=2,
            images=("https://example.com/a.png",),
            footer="shop \u00b7 evt_1",
        )
    )
    assert told.title == "\U0001f514 disk.full"
    assert told.body == (
        "3 waited\n\nno room\n\nhost: a\nused: 99 %\n\nhttps://example.com/a.png\n\n+2 more\n\n"
        "1970-01-01T00:00:00.000Z\nshop \u00b7 evt_1"
    )
    assert told.truncated


def test_nothing_but_a_time_is_a_text_too() -> None:
    told = plain_text(made(text=" \u200b", heading="\n"))
    assert (told.body, told.truncated) == ("1970-01-01T00:00:00.000Z", False)
    assert told.title == "\U0001f514"


def test_a_senders_lines_stand_behind_the_margin() -> None:
    told = plain_text(
        made(text="a\nhost: forged\r\nmore", fields=(Field("na\nme", "x\nhost: forged"), Field("", "")))
    )
    assert told.body == (
        "a\n  host: forged\n  more\n\nna me: x\n  host: forged\n\u2014: \u2014\n\n1970-01-01T00:00:00.000Z"
    )
    assert not told.truncated


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@everyone, @here", "@\u200beveryone, @\u200bhere"),
        ("<@123456789012345678> <@&42> <#42>", "<\u200b@123456789012345678> <\u200b@&42> <\u200b#42>"),
        ("<!channel>", "<\u200b!channel>"),
        ("[bank](https://b.example)", "[bank]\u200b(https://b.example)"),
        ("<https://b.example|bank>", "<\u200bhttps://b.example|bank>"),
        ("bob@example.com <b> <https://a.example> [a] (b)", "bob@example.com <b> <https://a.example> [a] (b)"),
    ],
)
def test_nobody_is_mentioned_and_no_link_hides_its_address(text: str, shown: str) -> None:
    told = plain_text(made(heading=text, text=text, note=text, footer=text, fields=(Field(text, text),)))
    assert told.title == f"\U0001f514 {shown}"
    assert told.body == f"{shown}\n\n{shown}\n\n{shown}: {shown}\n\n1970-01-01T00:00:00.000Z\n{shown}"


def test_what_is_cut_or_cleaned_mentions_nobody_either() -> None:
    told = plain_text(made(heading="h" * 600, text="@\u202eeveryone [a]\u2066(b)"))
    assert told.body.startswith("@\u200beveryone [a]\u200b(b)\n")


def test_lengths_have_bounds() -> None:
    for fields in (
        {"text": "\U0001f514" * 100_000},
        {"fields": tuple(Field("n" * 1000, "v" * 1000) for _ in range(1000))},
        {"heading": "h" * 100_000, "footer": "f" * 100_000, "fields": (Field("a", "b" * 100_000),)},
    ):
        told = plain_text(made(**fields))
        assert units(told.title) <= TITLE_MAX
        assert units(told.body) <= BODY_MAX
        assert told.truncated
        assert "1970-01-01T00:00:00.000Z" in told.body
    assert "\n\n+82 more\n\n" in plain_text(made(fields=tuple(Field("n", "v" * 1000) for _ in range(99)))).body
