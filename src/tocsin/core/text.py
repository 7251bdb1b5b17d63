"""White space as Unicode defines it, which is not what ``str.strip`` takes."""

from __future__ import annotations

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""The characters with Unicode's White_Space property.

``str.strip()`` also takes U+001C to U+001F, which do not have it. Source: Unicode's PropList.txt.
"""


def trim(text: str) -> str:
    """Return ``text`` without the white space around it."""
    return text.strip(WHITE_SPACE)
