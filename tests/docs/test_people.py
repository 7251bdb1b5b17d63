"""What the page about people says is so: its lines run, and its figures are the program's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import shell
from docs.pages import ROOT, blocks
from gateway import Gateway, gateway_with
from tocsin.core.destination import USUAL_CONCURRENCY, Transport
from tocsin.fakes import Discord, Fakes, running
from tocsin.transports.messages import bounded, discord, mail, telegram

PAGE = ROOT / "docs" / "people.md"


def row(name: str) -> str:
    """Return the second cell of the table's row that begins with this name."""
    (found,) = re.findall(rf"^\| {name} \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return str(found)


@pytest.fixture(name="with_fakes", scope="module")
def _with_fakes() -> Iterator[tuple[Gateway, Discord]]:
    with running(Fakes()) as house, gateway_with(house.fakes.settings()) as gateway:
        yield gateway, house.fakes.discord


@pytest.mark.acceptance
@pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "jq"))), reason="needs bash, curl and jq")
def test_the_lines_run_and_print_what_the_page_says(with_fakes: tuple[Gateway, Discord], tmp_path: Path) -> None:
    gateway, fake = with_fakes
    told = blocks(PAGE)
    variables = {
        "URL": gateway.base_url,
        "KEY": gateway.new_organisation()["key"],
        "WEBHOOK_URL": fake.webhook_url(),
    }
    ran = shell.run(told, variables, tmp_path)
    assert len(ran) == 2
    shell.check(told, ran)


def test_the_lengths_are_those_that_messages_are_cut_to() -> None:
    assert row("Discord") == (
        f"{discord.EMBEDS_MAX} embeds of {discord.FIELDS_MAX} fields, {discord.TOTAL_MAX} characters together; "
        f"a name {discord.NAME_MAX}, a value {discord.VALUE_MAX}, a description {discord.DESCRIPTION_MAX}"
    )
    assert row("Telegram") == f"{telegram.TEXTS_MAX} messages of {telegram.TEXT_MAX} characters, split between lines"
    assert mail.HEADING_MAX == mail.NAME_MAX
    assert row("Email") == (
        f"{mail.CHARACTERS_MAX:,} characters in {bounded.FIELDS_MAX:,} fields; a heading or a name {mail.NAME_MAX}"
    )


def test_one_message_at_a_time_is_what_chats_get() -> None:
    assert USUAL_CONCURRENCY[Transport.DISCORD] == USUAL_CONCURRENCY[Transport.TELEGRAM] == 1
