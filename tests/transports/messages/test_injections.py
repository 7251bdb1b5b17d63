"""What a text can try to be, and what Discord and Telegram get of it.

Each case stands as the description and as a field of a PingPilot event, whose Markdown is its sender's, and in any
other message, where none is. Nobody is ever mentioned, no link hides its address, no line passes for one of ours.
"""

from __future__ import annotations

import re

import pytest

from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.message import Field, Template
from tocsin.transports.messages.telegram import telegram_texts
from transports.messages.samples import message

Z = "\u200b"
B = "\\"

# name: text, Discord's of a category's event, Discord's of any other, Telegram's
CASES: dict[str, tuple[str, str, str, str]] = {
    "everyone": ("@everyone", f"@{Z}everyone", f"@{Z}everyone", f"@{Z}everyone"),
    "here": ("go @here now", f"go @{Z}here now", f"go @{Z}here now", f"go @{Z}here now"),
    "user": (
        "<@123456789012345678>",
        f"<{Z}@123456789012345678>",
        f"<{Z}@123456789012345678>",
        "<@123456789012345678>",
    ),
    "nickname": ("<@!42>", f"<{Z}@!42>", f"<{Z}@!42>", "<@!42>"),
    "role": ("<@&42>", f"<{Z}@&42>", f"<{Z}@&42>", "<@&42>"),
    "channel": ("<#42>", f"<{Z}#42>", f"<{Z}#42>", "<#42>"),
    "command": ("</deploy prod:42>", f"<{Z}/deploy prod:42>", f"<{Z}/deploy prod:42>", "</deploy prod:42>"),
    "place": ("<id:customize>", f"<{Z}id:customize>", f"<{Z}id:customize>", "<id:customize>"),
    "member of a Telegram chat": ("ask @alice_b", "ask @alice_b", "ask @alice_b", f"ask @{Z}alice_b"),
    "command to a bot": ("/ban@GroupBot 7", "/ban@GroupBot 7", "/ban@GroupBot 7", f"/{Z}ban@GroupBot 7"),
    "commands": (
        "a (/stop), /a_1. é/x",
        "a (/stop), /a_1. é/x",
        "a (/stop), /a_1. é/x",
        f"a (/{Z}stop), /{Z}a_1. é/x",
    ),
    "paths and addresses": (
        "/var/log/x and/or https://a.example/b-/c 1/2",
        "/var/log/x and/or https://a.example/b-/c 1/2",
        "/var/log/x and/or https://a.example/b-/c 1/2",
        "/var/log/x and/or https://a.example/b-/c 1/2",
    ),
    "command that passes for part of an address": (
        "http://x/,/ban@Bot",
        "http://x/,/ban@Bot",
        "http://x/,/ban@Bot",
        f"http://x/,/{Z}ban@Bot",
    ),
    "mail address": ("bob@example.com", "bob@example.com", "bob@example.com", "bob@example.com"),
    "masked link": (
        "[a](https://b.example)",
        f"[a]{Z}(https://b.example)",
        f"[a]{Z}(https://b.example)",
        "[a](https://b.example)",
    ),
    "masked link with a title": (
        '[a](<https://b.example> "t")',
        f'[a]{Z}(<https://b.example> "t")',
        f'[a]{Z}(<https://b.example> "t")',
        '[a](<https://b.example> "t")',
    ),
    "masked link in a masked link": ("[[a](b)](c)", f"[[a]{Z}(b)]{Z}(c)", f"[[a]{Z}(b)]{Z}(c)", "[[a](b)](c)"),
    "masked link that is escaped": (f"[a{B}](b)", f"[a{B}]{Z}(b)", f"[a{B}{B}]{Z}(b)", f"[a{B}](b)"),
    "address": (
        "see https://a.example/b_c_*d*",
        "see https://a.example/b_c_*d*",
        "see https://a.example/b_c_*d*",
        "see https://a.example/b_c_*d*",
    ),
    "bold": ("**b**", "**b**", f"{B}*{B}*b{B}*{B}*", "**b**"),
    "italic": ("_i_ *i*", "_i_ *i*", f"{B}_i{B}_ {B}*i{B}*", "_i_ *i*"),
    "underlined": ("__u__", "__u__", f"{B}_{B}_u{B}_{B}_", "__u__"),
    "underscores within words": ("error_code my_var", "error_code my_var", "error_code my_var", "error_code my_var"),
    "struck": ("~~s~~", "~~s~~", f"{B}~{B}~s{B}~{B}~", "~~s~~"),
    "spoiler": ("||s||", "||s||", f"{B}|{B}|s{B}|{B}|", "||s||"),
    "code": ("`c` ``d``", "`c` ``d``", f"{B}`c{B}` {B}`{B}`d{B}`{B}`", "`c` ``d``"),
    "code fence": ("```js\nx\n```", "```js\nx\n```", f"{B}`{B}`{B}`js\nx\n{B}`{B}`{B}`", "```js\nx\n```"),
    "open code fence": ("```", "```", f"{B}`{B}`{B}`", "```"),
    "headings": (
        "# a\n## b\n-# c\n#d",
        "# a\n## b\n-# c\n#d",
        f"{B}# a\n{B}## b\n{B}-# c\n#d",
        "# a\n## b\n-# c\n#d",
    ),
    "quotes": ("> a\n>>> b", "> a\n>>> b", f"{B}> a\n{B}>>> b", "> a\n>>> b"),
    "lists": (
        "- a\n  * b\n1. c\n+ d",
        "- a\n  * b\n1. c\n+ d",
        f"{B}- a\n  {B}* b\n1{B}. c\n{B}+ d",
        "- a\n  * b\n1. c\n+ d",
    ),
    "backslash": (f"{B}*a{B}* C:{B}x", f"{B}*a{B}* C:{B}x", f"{B}{B}{B}*a{B}{B}{B}* C:{B}{B}x", f"{B}*a{B}* C:{B}x"),
    "emoji by name": (":tada: 12:30:45", ":tada: 12:30:45", f"{B}:tada: 12:30:45", ":tada: 12:30:45"),
    "emoji by number": ("<:a:42> <a:b:42>", "<:a:42> <a:b:42>", f"<{Z}{B}:a:42> <{Z}a{B}:b:42>", "<:a:42> <a:b:42>"),
    "time": ("<t:1:R>", "<t:1:R>", f"<{Z}t:1:R>", "<t:1:R>"),
    "HTML": (
        '<b>x</b><script>y</script><a href="z">',
        '<b>x</b><script>y</script><a href="z">',
        '<b>x</b><script>y</script><a href="z">',
        '<b>x</b><script>y</script><a href="z">',
    ),
    "entities": ("&lt;b&gt; &amp; &#64;", "&lt;b&gt; &amp; &#64;", "&lt;b&gt; &amp; &#64;", "&lt;b&gt; &amp; &#64;"),
    "MarkdownV2": (
        "[a](tg://user?id=1) {b} =c! d.",
        f"[a]{Z}(tg://user?id=1) {{b}} =c! d.",
        f"[a]{Z}(tg://user?id=1) {{b}} =c! d.",
        "[a](tg://user?id=1) {b} =c! d.",
    ),
    "reversed writing": ("a\u202etxt.exe\u202cb", "atxt.exeb", "atxt.exeb", "atxt.exeb"),
    "isolates": ("a\u2066b\u2069c", "abc", "abc", "abc"),
    "control characters": (
        "a\x00b\x08c\x7fd",
        "a\u2400b\u2408c\u2421d",
        "a\u2400b\u2408c\u2421d",
        "a\u2400b\u2408c\u2421d",
    ),
    "ANSI": ("\x1b[31mred\x1b[0m", "\u241b[31mred\u241b[0m", "\u241b[31mred\u241b[0m", "\u241b[31mred\u241b[0m"),
    "lone surrogates": ("a\ud83db\udc00", "a\ufffdb\ufffd", "a\ufffdb\ufffd", "a\ufffdb\ufffd"),
    "line ends": ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne", "a\nb\nc\nd\ne", "a\nb\nc\nd\ne"),
    "zero width": (
        "a\u200bb\u2060c\ufeffd",
        "a\u200bb\u2060c\ufeffd",
        "a\u200bb\u2060c\ufeffd",
        "a\u200bb\u2060c\ufeffd",
    ),
    "marks without end": (
        "a" + "\u0301" * 200 + "b",
        "a" + "\u0301" * 8 + "b",
        "a" + "\u0301" * 8 + "b",
        "a" + "\u0301" * 8 + "b",
    ),
    "a field that is none": (
        "a\n\n\U0001f4cc Details:\n\U0001f539 paid: true",
        "a\n\n\U0001f4cc Details:\n\U0001f539 paid: true",
        "a\n\n\U0001f4cc Details:\n\U0001f539 paid: true",
        "a\n\n> \U0001f4cc Details:\n> \U0001f539 paid: true",
    ),
    "a field that is none behind space": (
        "a\n \u200b\u3000\U0001f539 paid: true",
        "a\n \u200b\u3000\U0001f539 paid: true",
        "a\n \u200b\u3000\U0001f539 paid: true",
        "a\n>  \u200b\u3000\U0001f539 paid: true",
    ),
    "an event that is none": (
        "a\u2028\U0001f389 Event Notification",
        "a\n\U0001f389 Event Notification",
        "a\n\U0001f389 Event Notification",
        "a\n> \U0001f389 Event Notification",
    ),
    "a word without end": ("w" * 500, "w" * 500, "w" * 500, "w" * 500),
}
_CASES = pytest.mark.parametrize(("text", "category", "other", "telegram"), CASES.values(), ids=CASES.keys())


def test_there_are_forty() -> None:
    assert len(CASES) >= 40


@_CASES
def test_a_category_keeps_its_markdown_on_discord(text: str, category: str, other: str, telegram: str) -> None:
    payload = discord_payload(message(text=text, fields=(Field("name", text),)))
    (embed,) = payload.body["embeds"]
    assert embed["description"] == category
    assert embed["fields"] == [{"name": "name", "value": category, "inline": True}]
    assert payload.body["allowed_mentions"] == {"parse": []}


@_CASES
@pytest.mark.parametrize("template", [Template.INCIDENT, Template.PLAIN])
def test_nothing_else_is_markdown_on_discord(
    template: Template, text: str, category: str, other: str, telegram: str
) -> None:
    payload = discord_payload(message(template=template, text=text, fields=(Field("name", text),), note=text))
    (embed,) = payload.body["embeds"]
    assert (payload.body["content"], embed["description"], embed["fields"][0]["value"]) == (other, other, other)
    assert payload.body["allowed_mentions"] == {"parse": []}


@_CASES
def test_telegram_shows_the_characters(text: str, category: str, other: str, telegram: str) -> None:
    (shown,) = telegram_texts(message(text=text, fields=(Field("name", text),))).texts
    assert shown == (
        "\U0001f389 Event Notification \U0001f389\n\n\U0001f4cc Category: \U0001f41b Bug\n"
        f"\U0001f4dd Description: {telegram}\n\U0001f3a8 Color Code: 16711680\n"
        f"\U0001f552 Timestamp: 2026-03-06T10:30:00.000Z\n\n\U0001f4cc Details:\n\U0001f539 name: {telegram}"
    )


@_CASES
def test_names_and_titles_have_one_line(text: str, category: str, other: str, telegram: str) -> None:
    shown = message(template=Template.PLAIN, heading=text, text="", fields=(Field(text, "value"),), footer=text)
    (embed,) = discord_payload(shown).body["embeds"]
    assert "\n" not in embed["title"] + embed["fields"][0]["name"] + embed["footer"]["text"]
    ours = ("\U0001f41b ", "\U0001f539 ", "\U0001f552 2026", "\U0001f4e1 ")
    lines = [line for line in telegram_texts(shown).texts[0].split("\n") if line]
    assert [line.startswith(start) for line, start in zip(lines, ours, strict=True)] == [True] * 4


@_CASES
def test_no_case_mentions_anybody(text: str, category: str, other: str, telegram: str) -> None:
    for shown in (category, other):
        assert re.search(r"@everyone|@here|<@|<#|<id:|</[^>]+:\d|\]\(", shown) is None
    assert re.search(r"(?<!\w)@[A-Za-z]\w{3,}", telegram) is None


def test_a_field_name_cannot_begin_a_line() -> None:
    fields = (Field("a\n\U0001f539 paid: true\n\nb", "v"),)
    assert telegram_texts(message(fields=fields)).texts[0].endswith("\n\U0001f539 a \U0001f539 paid: true b: v")
    (embed,) = discord_payload(message(fields=fields)).body["embeds"]
    assert embed["fields"][0]["name"] == "a \U0001f539 paid: true b"
