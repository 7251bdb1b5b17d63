"""Messages as Telegram takes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tocsin.transports.messages.cleaning import is_blank
from tocsin.transports.messages.cutting import units
from tocsin.transports.messages.message import Field, Message, Template
from tocsin.transports.messages.telegram import TEXTS_MAX, TelegramTexts, telegram_texts
from transports.messages.samples import FAMILY, message, messages

HEAD = """\
\U0001f389 Event Notification \U0001f389

\U0001f4cc Category: \U0001f41b Bug
\U0001f4dd Description: {}
\U0001f3a8 Color Code: 16711680
\U0001f552 Timestamp: 2026-03-06T10:30:00.000Z

\U0001f4cc Details:"""


def check(told: TelegramTexts) -> None:
    """Hold texts to everything for which Telegram answers 400."""
    assert 1 <= len(told.texts) <= TEXTS_MAX
    for text in told.texts:
        assert 1 <= units(text) <= 4096
        assert not is_blank(text)
        assert text == text.strip()
        text.encode()


def squeezed(text: str) -> str:
    return "".join(text.split())


@given(messages())
def test_no_message_ever_breaks_a_limit(shown: Message) -> None:
    told = telegram_texts(shown)
    check(told)
    if shown.omitted:
        assert told.truncated
        assert told.texts[-1].endswith(" more")


@given(st.lists(st.builds(Field, st.text(max_size=40), st.text(max_size=900)), max_size=16).map(tuple))
def test_splitting_loses_nothing(fields: tuple[Field, ...]) -> None:
    alone = [telegram_texts(message(fields=(field,))).texts for field in fields]
    told = telegram_texts(message(fields=fields))
    check(told)
    assert not told.truncated
    whole = squeezed("".join(told.texts))
    for (text,) in alone:
        assert squeezed(text.removeprefix(HEAD.format("text"))) in whole


def test_a_text_is_pingpilots_to_the_character() -> None:
    fields = (Field("severity", "high"), Field("service", "api-server"))
    told = telegram_texts(message(text="Critical database connection error", fields=fields))
    assert told == TelegramTexts(
        (
            HEAD.format("Critical database connection error")
            + "\n\U0001f539 severity: high\n\U0001f539 service: api-server",
        ),
        truncated=False,
    )


def test_4096_units_are_one_message_and_one_more_are_two() -> None:
    room = 4096 - units(HEAD.format(""))
    assert telegram_texts(message(text="\U0001f41b" * (room // 2) + "a" * (room % 2))).texts == (
        HEAD.format("\U0001f41b" * (room // 2) + "a" * (room % 2)),
    )
    told = telegram_texts(message(text="a" * (room + 1)))
    assert len(told.texts) == 2
    assert told.texts[1] == "\U0001f4cc Details:"
    assert not told.truncated


def test_texts_are_split_between_lines() -> None:
    fields = tuple(Field(f"field {number}", "v" * 990) for number in range(8))
    told = telegram_texts(message(fields=fields))
    assert len(told.texts) == 3
    assert [text.count("\n\U0001f539") + text.startswith("\U0001f539") for text in told.texts] == [3, 4, 1]
    assert "\n".join(told.texts) == telegram_texts(message()).texts[0] + "".join(
        f"\n\U0001f539 {field.name}: {field.value}" for field in fields
    )


def test_a_line_that_no_message_could_hold_is_split_within() -> None:
    told = telegram_texts(message(text="a" * 9000))
    assert [units(text) for text in told.texts[:2]] == [4096, 4096]
    assert "".join(told.texts).count("a" * 100) > 80
    joined = telegram_texts(message(text=FAMILY * 800))
    assert all(text.split(": ")[-1].split("\n")[0].replace(FAMILY, "") == "" for text in joined.texts[:2])


def test_the_last_line_counts_the_fields_that_did_not_fit() -> None:
    fields = tuple(Field(f"f{number}", "v" * 990) for number in range(100))
    told = telegram_texts(message(fields=fields, omitted=1000))
    check(told)
    assert len(told.texts) == TEXTS_MAX
    shown = sum(text.count("\U0001f539") for text in told.texts)
    assert told.texts[-1].endswith(f"v\n+{1100 - shown} more")
    assert told.truncated


def test_a_field_that_is_cut_ends_in_an_ellipsis() -> None:
    told = telegram_texts(message(fields=(Field("long", "v" * 50_000), Field("next", "v"))))
    assert told.texts[-1].endswith("v\u2026\n+1 more")
    assert telegram_texts(message(fields=(Field("long", "v" * 50_000),))).texts[-1].endswith("v\u2026")
    lines = telegram_texts(message(fields=(Field("long", "line\n" * 10_000), Field("next", "v"))))
    assert lines.texts[-1].endswith("line\n\u2026\n+1 more")
    check(told)
    check(lines)


def test_what_composing_left_out_is_counted_where_all_else_fits() -> None:
    told = telegram_texts(message(fields=(Field("a", "b"),), omitted=3))
    assert told.texts[0].endswith("\U0001f539 a: b\n+3 more")
    assert told.truncated
    full = telegram_texts(message(text="a" * (4096 - units(HEAD.format(""))), omitted=3))
    assert full.texts[-1].endswith("+3 more")
    check(full)


def test_a_message_of_which_nothing_is_seen_is_not_sent() -> None:
    told = telegram_texts(message(text="\u200b" * 9000))
    check(told)
    assert told.texts[-1].startswith("\U0001f3a8") or "\U0001f3a8" in told.texts[-1]


def test_a_note_stands_above() -> None:
    assert telegram_texts(message(note="Held back\n")).texts == ("Held back\n\n" + HEAD.format("text"),)


def test_another_kind_of_message_has_its_own_lines() -> None:
    shown = message(
        template=Template.PLAIN, heading="a\nb", text="\n one\n\ntwo ", fields=(Field("n", "v"),), footer="source"
    )
    assert telegram_texts(shown).texts == (
        "\U0001f41b a b\n\none\n\ntwo\n\n\U0001f539 n: v\n\U0001f552 2026-03-06T10:30:00.000Z\n\U0001f4e1 source",
    )
    bare = message(template=Template.PLAIN, emoji="", heading=" ", text=" ")
    assert telegram_texts(bare).texts == ("\u2014\n\n\U0001f552 2026-03-06T10:30:00.000Z",)


def test_what_was_shortened_before_is_marked() -> None:
    assert telegram_texts(message(shortened=True)).truncated
