"""The fields and texts of one message while it is composed, held to a size that is worth writing out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.transports.messages.cutting import ELLIPSIS
from tocsin.transports.messages.message import Field

FIELDS_MAX = 1_000
"""No remote shows as many: Discord 250, Telegram what its messages hold."""
NAME_CHARACTERS_MAX = 1_024
TEXT_CHARACTERS_MAX = 16_384
"""The longest text or value; Telegram's messages of one event hold a little more together."""

_encode = msgspec.json.Encoder().encode


class Fields:
    """Fields in the order in which they are shown, at most ``FIELDS_MAX`` of them.

    Attributes:
        taken: what there is so far.
        omitted: how many there were beyond these.
        shortened: whether any text was cut.
    """

    def __init__(self) -> None:
        self.taken: list[Field] = []
        self.omitted = 0
        self.shortened = False

    @property
    def room(self) -> int:
        """How many more are taken."""
        return FIELDS_MAX - len(self.taken)

    def add(self, name: str, value: str) -> None:
        """Take one more, or count it among those that are left out."""
        if self.room > 0:
            self.taken.append(Field(self._cut(name, NAME_CHARACTERS_MAX), self._cut(value, TEXT_CHARACTERS_MAX)))
        else:
            self.omitted += 1

    def add_some(self, name: str, value: str | None) -> None:
        """Take a field that says something; an empty one is none."""
        if value:
            self.add(name, value)

    def add_members(self, members: Mapping[str, Any]) -> None:
        """Take an object's members; those of an object among them as ``outer.inner``, null as none."""
        for name, value in members.items():
            if isinstance(value, Mapping):
                for inner, below in value.items():
                    self._add_value(f"{name}.{inner}", below)
            else:
                self._add_value(str(name), value)

    def omit(self, count: int) -> None:
        """Count fields that nobody looked at."""
        self.omitted += count

    def bounded(self, text: str, *, cut_before: bool = False) -> str:
        """Return a text of the message at a bearable length.

        Args:
            cut_before: it is the beginning of a longer one.
        """
        if cut_before:
            self.shortened = True
            return text[: TEXT_CHARACTERS_MAX - 1] + ELLIPSIS
        return self._cut(text, TEXT_CHARACTERS_MAX)

    def _add_value(self, name: str, value: Any) -> None:
        if value is None:
            return
        self.add(name, value if isinstance(value, str) else _encode(value).decode())

    def _cut(self, text: str, characters_max: int) -> str:
        if len(text) <= characters_max:
            return text
        self.shortened = True
        return text[: characters_max - 1] + ELLIPSIS
