"""Whatever the documentation points at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, anchors, links, name_of, prose, quoted

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)

_PATH = re.compile(r"(?:src|tests|docs|bench|deploy)/[\w./*<>-]*")
_MODULE = re.compile(r"(?:\w+/)*\w+\.(?:py|sql|md|yml)")


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{link} is not there"
        if anchor:
            assert anchor in anchors(there), f"{link} is no heading of {name_of(there)}"


@every_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    for text in quoted(prose(page)):
        if _PATH.fullmatch(text):
            pattern = re.sub(r"<\w+>|N+(?=-)", "*", text).rstrip("/")
            assert list(ROOT.glob(pattern)), f"{text} is not there"
        elif _MODULE.fullmatch(text) and "/" in text:
            places = [ROOT, ROOT / "src", ROOT / "src" / "tocsin", page.parent]
            assert any((place / text).exists() for place in places), f"{text} is not there"


def test_every_page_is_linked_from_another_one() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve() for page in PAGES for link in links(page) if link[0] != "#"
    }
    decisions = ROOT / "docs" / "decisions"
    assert decisions in linked
    loose = {page for page in PAGES if page not in linked and page.parent != decisions}
    assert {name_of(page) for page in loose} <= {"README.md"}


def test_the_check_of_links_can_fail(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading, with `code`\n\n[there](#a-heading-with-code) [gone](gone.md) [out](https://x.org)\n"
    )
    assert links(page) == ["#a-heading-with-code", "gone.md"]
    assert anchors(page) == {"a-heading-with-code"}
