"""What Discord would make of our texts, asked of a public parser of its Markdown."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tocsin.transports.messages.cleaning import BREAK, cleaned
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.message import Template
from transports.messages.samples import message
from transports.messages.test_injections import CASES

ORACLE = Path(__file__).parent / "markdown"
GENERATED = 8_000
ID = "123456789012345678"
PIECES = (
    *"*_~|`\\[]()<>@#&!:.-+ \n",
    *("**", "__", "~~", "||", "```", "](", "\n\n", "everyone", "here", "# ", "-# ", "- ", "1. ", "> ", ">>> "),
    *(
        "a",
        "b1",
        "_c",
        "d_",
        "https://x.example/z",
        "http://",
        "tada",
        ":tada:",
        f"<@{ID}>",
        f"<@&{ID}>",
        f"<#{ID}>",
        "<t:1>",
    ),
    *(f"<a:ab:{ID}>", f"</a:{ID}>", f"<{ID}:browse>", "\u00e9", "\U0001f41b"),
)
PLAIN = {"text", "br", "newline", "url", "autolink", "twemoji"}
"""Addresses that are shown as they are, and emoji that the text itself holds."""
DECEIVING = {"link", "user", "role", "channel", "everyone", "here", "slashCommand", "guildNavigation"}

Told = list[tuple[list[str], str]]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Told]:
    """Return a function that tells of many texts what they consist of and what is read of them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the oracle of Discord's Markdown needs node and npm")
    home = tmp_path_factory.mktemp("markdown")
    for name in ("package.json", "package-lock.json", ".npmrc", "oracle.mjs"):
        shutil.copy(ORACLE / name, home / name)
    installed = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm ci could not install the oracle of Discord's Markdown: {installed.stderr.strip()[-300:]}")

    def ask(texts: list[str]) -> Told:
        done = subprocess.run(
            [node, "oracle.mjs"],
            cwd=home,
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
        answer: Told = [(kinds, read) for kinds, read in json.loads(done.stdout)]
        return answer

    return ask


def generated() -> list[str]:
    random = Random(20_260_306)
    made = ("".join(random.choices(PIECES, k=random.randrange(1, 14))) for _ in range(GENERATED))
    return [text for text in [*(case[0] for case in CASES.values()), *made] if text.strip()]


def _characters(text: str) -> str:
    """Return the characters of ``text`` but for angle brackets, which Discord takes from around an address."""
    return text.replace(BREAK, "").replace("<", "").replace(">", "").strip()


def described(template: Template, text: str) -> str:
    (embed,) = discord_payload(message(template=template, text=text)).body["embeds"]
    description: str = embed["description"]
    return description


def test_nothing_but_text_is_shown_of_what_is_no_category(shown: Callable[[list[str]], Told]) -> None:
    texts = generated()
    for text, (kinds, read) in zip(texts, shown([described(Template.PLAIN, text) for text in texts]), strict=True):
        assert set(kinds) <= PLAIN, text
        assert _characters(read) == _characters(cleaned(text)), text


def test_no_text_of_a_category_mentions_anybody_or_hides_an_address(shown: Callable[[list[str]], Told]) -> None:
    texts = generated()
    answers = shown([described(Template.CATEGORY, text) for text in texts])
    assert {kind for kinds, _ in answers for kind in kinds}.isdisjoint(DECEIVING)


def test_the_oracle_sees_what_is_left_as_it_was(shown: Callable[[list[str]], Told]) -> None:
    texts = [
        "[a](https://b.example)",
        f"<@{ID}>",
        f"<@&{ID}>",
        f"<#{ID}>",
        "@everyone",
        "@here",
        f"</a:{ID}>",
        f"<{ID}:browse>",
    ]
    assert {kind for kinds, _ in shown(texts) for kind in kinds} >= DECEIVING
