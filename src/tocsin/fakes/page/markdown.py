"""As much of Discord's Markdown as tells marked-up text from plain text, written as HTML.

Source: Discord's documentation, "Message formatting", and its guide to Markdown in chat.
"""

from __future__ import annotations

import re
from html import escape

_DEPTH_MAX = 4
_TOKENS = re.compile(
    r"```(?:[a-z0-9_+-]*\n)?(?P<block>.+?)```"
    r"|`(?P<code>[^`\n]+)`"
    r"|\\(?P<sign>[!-/:-@\[-`{-~])"
    r"|\[(?P<label>[^\[\]\n]+)\]\((?P<target>https?://[^\s()]+)\)"
    r"|(?P<mention>@everyone|@here|<@[!&]?[0-9]{1,20}>|<#[0-9]{1,20}>)"
    r"|\*\*(?P<bold>[^\n]+?)\*\*"
    r"|__(?P<underline>[^\n]+?)__"
    r"|~~(?P<strike>[^\n]+?)~~"
    r"|\|\|(?P<spoiler>[^\n]+?)\|\|"
    r"|\*(?P<star>[^*\s][^*\n]*?)\*"
    r"|(?<![A-Za-z0-9_])_(?P<low>[^_\n]+?)_(?![A-Za-z0-9_])"
    r"|^(?P<level>\#{1,3})\s(?P<heading>[^\n]+)$"
    r"|^>\s(?P<quote>[^\n]+)$",
    re.DOTALL | re.MULTILINE,
)
_WRAPPED = {
    "bold": "strong",
    "underline": "u",
    "strike": "s",
    "star": "em",
    "low": "em",
    "quote": "blockquote",
    "spoiler": "mark",
}
_VERBATIM = {"block": "pre", "code": "code"}


def marked_up(text: str, depth: int = 0) -> str:
    """Return ``text`` as Discord would show it; all but a few tags of our own is escaped."""
    if depth == _DEPTH_MAX:
        return escape(text)
    parts: list[str] = []
    end = 0
    for found in _TOKENS.finditer(text):
        parts.append(_plain(text[end : found.start()]))
        parts.append(_token(found, depth + 1))
        end = found.end()
    parts.append(_plain(text[end:]))
    return "".join(parts)


def _token(found: re.Match[str], depth: int) -> str:
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    for name, tag in _VERBATIM.items():
        if name in groups:
            return f"<{tag}>{escape(groups[name])}</{tag}>"
    for name, tag in _WRAPPED.items():
        if name in groups:
            return f"<{tag}>{marked_up(groups[name], depth)}</{tag}>"
    if "heading" in groups:
        return f'<span class="heading">{marked_up(groups["heading"], depth)}</span>'
    if "label" in groups:
        # Not followed from here: what matters is that a person would see the one and reach the other.
        target = escape(groups["target"])
        return f'<span class="link" title="{target}">{marked_up(groups["label"], depth)}</span>'
    if "mention" in groups:
        return f'<span class="mention">{escape(groups["mention"])}</span>'
    return escape(groups["sign"])


def _plain(text: str) -> str:
    return escape(text).replace("\n", "<br>")
