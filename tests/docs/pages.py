"""The pages of the documentation, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
"""Every page, README and its neighbours too."""

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        info: what stands behind the fence: its language, and for some what it is.
    """

    info: str
    text: str


def name_of(page: Path) -> str:
    """Return a page's path from the root, for a test's name."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    return [Block(info.strip(), text) for info, text in _FENCE.findall(page.read_text("utf-8"))]


def block(page: Path, info: str) -> str:
    """Return the text of the one block with this info."""
    (found,) = [each.text for each in blocks(page) if each.info == info]
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def quoted(text: str) -> list[str]:
    """Return what stands in backticks; a line may end within."""
    return [" ".join(each.split()) for _, each in re.findall(r"(`+)(.+?)\1", text, re.DOTALL)]


def links(page: Path) -> list[str]:
    """Return where a page's links lead that stay within the documentation."""
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make, as the usual renderers make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number = 1
        unique = slug
        while unique in found:
            unique, number = f"{slug}-{number}", number + 1
        found.add(unique)
    return found
