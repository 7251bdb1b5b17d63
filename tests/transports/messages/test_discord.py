"""Messages as Discord takes them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.transports.messages.cleaning import is_blank
from tocsin.transports.messages.cutting import units
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.message import Field, Message, Template
from transports.messages.samples import FAMILY, message, messages

PINGPILOT_KEYS = ["title", "description", "color", "timestamp", "fields"]


def fields(count: int, value: str = "v") -> tuple[Field, ...]:
    return tuple(Field(f"n{number}", value) for number in range(count))


def told(shown: Message) -> list[dict[str, Any]]:
    embeds: list[dict[str, Any]] = discord_payload(shown).body["embeds"]
    return embeds


def texts_of(body: dict[str, Any]) -> list[tuple[str, int]]:
    """Return every text that Discord counts, with its limit."""
    found = []
    for embed in body["embeds"]:
        found += [(embed[name], most) for name, most in (("title", 256), ("description", 4096)) if name in embed]
        found += [(embed["footer"]["text"], 2048)] if "footer" in embed else []
        for field in embed["fields"]:
            found += [(field["name"], 256), (field["value"], 1024)]
    return found


def check(body: dict[str, Any]) -> None:
    """Hold a body to everything for which Discord answers 400."""
    assert body["allowed_mentions"] == {"parse": []}
    assert 1 <= len(body["embeds"]) <= 10
    counted = texts_of(body)
    # As Discord counts, after trimming; and in UTF-16 units, which are never fewer.
    for measure in (len, units):
        assert sum(measure(text) for text, _ in counted) <= 6000
        assert all(measure(text) <= most for text, most in counted)
        assert measure(body.get("content", "-")) <= 2000
    assert all(text == text.strip() and not is_blank(text) for text, _ in counted)
    for embed in body["embeds"]:
        assert len(embed["fields"]) <= 25
        assert "url" not in embed
        assert 0 <= embed["color"] <= 0xFFFFFF
    msgspec.json.encode(body).decode()


@given(messages())
def test_no_message_ever_breaks_a_limit(shown: Message) -> None:
    payload = discord_payload(shown)
    check(payload.body)
    count = sum(len(embed["fields"]) for embed in payload.body["embeds"])
    if count < len(shown.fields) or shown.omitted:
        assert payload.truncated


@given(st.text(), st.sampled_from(Template))
def test_a_short_text_is_never_marked_as_cut(text: str, template: Template) -> None:
    assert not discord_payload(message(template=template, text=text)).truncated


def test_an_embed_has_the_keys_of_pingpilot_in_its_order() -> None:
    payload = discord_payload(message(fields=(Field("a", "b"),)))
    assert list(payload.body) == ["embeds", "allowed_mentions"]
    assert list(payload.body["embeds"][0]) == PINGPILOT_KEYS
    assert not payload.truncated


@pytest.mark.parametrize(
    ("part", "most"), [("heading", 256 - 3), ("text", 4096)], ids=["title with its emoji", "description"]
)
def test_a_text_at_its_limit_stays_and_one_beyond_is_cut(part: str, most: int) -> None:
    key = "title" if part == "heading" else "description"
    whole = discord_payload(message(**{part: "a" * most}))
    assert whole.body["embeds"][0][key].endswith("a" * most)
    assert not whole.truncated
    beyond = discord_payload(message(**{part: "a" * (most + 1)}))
    assert beyond.body["embeds"][0][key].endswith("a" * (most - 1) + "\u2026")
    assert beyond.truncated


def test_names_and_values_are_cut_at_their_limits() -> None:
    payload = discord_payload(message(fields=(Field("n" * 256, "v" * 1024), Field("n" * 257, "v" * 1025))))
    first, second = payload.body["embeds"][0]["fields"]
    assert first == {"name": "n" * 256, "value": "v" * 1024, "inline": True}
    assert second == {"name": "n" * 255 + "\u2026", "value": "v" * 1023 + "\u2026", "inline": True}
    assert payload.truncated


def test_what_is_trimmed_does_not_count() -> None:
    payload = discord_payload(message(text="  " + "a" * 4096 + " \n"))
    assert payload.body["embeds"][0]["description"] == "a" * 4096
    assert not payload.truncated


def test_more_than_25_fields_go_on_in_further_embeds() -> None:
    payload = discord_payload(message(fields=fields(26)))
    first, second = payload.body["embeds"]
    assert [len(first["fields"]), len(second["fields"])] == [25, 1]
    assert second == {"color": 0xFF0000, "fields": [{"name": "n25", "value": "v", "inline": True}]}
    assert not payload.truncated


def test_ten_embeds_are_the_most_and_the_last_line_counts_the_rest() -> None:
    assert not discord_payload(message(fields=fields(250))).truncated
    payload = discord_payload(message(fields=fields(253), omitted=4))
    embeds = payload.body["embeds"]
    assert [len(embed["fields"]) for embed in embeds] == [25] * 10
    assert embeds[-1]["footer"] == {"text": "+7 more"}
    assert all("footer" not in embed for embed in embeds[:-1])
    assert payload.truncated


def test_6000_characters_are_the_most_over_all_embeds() -> None:
    title = len("\U0001f41b Bug") + 1
    exact = (*fields(5, "v" * 1024), Field("last", "v" * (6000 - title - len("text") - 5 * 1026 - len("last"))))
    payload = discord_payload(message(fields=exact))
    assert sum(units(text) for text, _ in texts_of(payload.body)) == 6000
    assert not payload.truncated

    longer = discord_payload(message(fields=(*exact[:5], Field("last", exact[5].value + "v"))))
    assert sum(units(text) for text, _ in texts_of(longer.body)) == 6000
    assert longer.body["embeds"][0]["fields"][5]["value"] == exact[5].value[:-1] + "\u2026"
    assert longer.truncated

    beyond = discord_payload(message(fields=(*exact, Field("one", "more"))))
    assert sum(units(text) for text, _ in texts_of(beyond.body)) <= 6000
    assert beyond.body["embeds"][-1]["footer"] == {"text": "+1 more"}
    assert beyond.body["embeds"][0]["fields"][5]["value"].endswith("v\u2026")
    assert beyond.truncated


def test_the_footer_stands_behind_the_last_line() -> None:
    embeds = told(message(template=Template.PLAIN, fields=fields(30), omitted=1, footer="source"))
    assert embeds[-1]["footer"] == {"text": "+1 more \u00b7 source"}
    assert "footer" not in embeds[0]


def test_names_and_values_of_which_nothing_is_seen_get_a_dash() -> None:
    empty = ("", "  ", "\u200b", "\n\t", "\u202e")
    (embed,) = told(message(text=" ", fields=tuple(Field(text, text) for text in empty)))
    assert embed["fields"] == [{"name": "\u2014", "value": "\u2014", "inline": True}] * len(empty)
    assert embed["description"] == "\u2014"


def test_joined_emoji_are_never_cut_in_two() -> None:
    for count in range(100):
        (embed,) = told(message(fields=(Field("a" * count + FAMILY * 30, "v"),)))
        name = embed["fields"][0]["name"]
        assert name.removesuffix("\u2026").removeprefix("a" * count).replace(FAMILY, "") == ""


@pytest.mark.parametrize("sign", ["\\", "_", "*", "`"])
def test_no_escape_is_left_at_a_cut(sign: str) -> None:
    for count in range(4):
        (embed,) = told(message(template=Template.PLAIN, text="a" * (4090 + count) + f"{sign} " * 10))
        description = embed["description"]
        assert description.endswith("\u2026")
        assert not description.endswith(("\\\u2026", "_\u2026"))


def test_a_note_stands_above_and_is_no_markup() -> None:
    payload = discord_payload(message(note="Held back: **all** @everyone"))
    assert payload.body["content"] == "Held back: \\*\\*all\\*\\* @\u200beveryone"
    assert list(payload.body) == ["content", "embeds", "allowed_mentions"]
    long = discord_payload(message(note="a" * 2001))
    assert long.body["content"] == "a" * 1999 + "\u2026"
    assert long.truncated


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/a.png",
        "http://sub.example.co.uk:8080/a%20b_c.png?x=1&y=(2)#f",
        "HTTPS://EXAMPLE.COM",
        "https://xn--bcher-kva.example/",
    ],
)
def test_the_first_image_with_a_sound_address_is_shown(address: str) -> None:
    (embed,) = told(message(template=Template.INCIDENT, images=("nonsense", address, "https://example.com/b.png")))
    assert embed["image"] == {"url": address}
    assert embed["fields"] == [
        {"name": "Images", "value": "nonsense\nhttps://example.com/b.png", "inline": True},
    ]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a.png",
        "/a.png",
        "//example.com/a.png",
        "ftp://example.com/a.png",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "attachment://a.png",
        "https://",
        "https://localhost/a.png",
        "https://192.168.1.2/a.png",
        "https://[::1]/a.png",
        "https://a_b.example.com/a.png",
        "https://-a.example.com/",
        "https://user:pass@example.com/a.png",
        "https://example.com/a b.png",
        "https://example.com/\u00e4.png",
        "https://example.com/a.png\n",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_an_address_for_which_discord_could_refuse_the_message_is_only_told(address: str) -> None:
    payload = discord_payload(message(template=Template.INCIDENT, images=(address,)))
    (embed,) = payload.body["embeds"]
    assert "image" not in embed
    assert embed["fields"][0]["name"] == "Images"
    check(payload.body)


def test_short_values_stand_beside_each_other() -> None:
    pair = (Field("short", "v" * 40), Field("long", "v" * 41))
    (embed,) = told(message(template=Template.PLAIN, fields=pair))
    assert [field["inline"] for field in embed["fields"]] == [True, False]


def test_what_was_shortened_before_is_marked() -> None:
    assert discord_payload(message(shortened=True)).truncated
