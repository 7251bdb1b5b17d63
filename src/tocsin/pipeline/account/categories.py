"""Categories: PingPilot's kinds of event, as many as the plan allows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import category as unicode_category
from weakref import WeakValueDictionary

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import InvalidRequest, NotFound, NotPermitted
from tocsin.core.identifiers import IdSequence, KeyId, OrganisationId
from tocsin.core.organisation import Category
from tocsin.core.quota import Plan, PlanLimits
from tocsin.engine.rows import CatalogOp, Save
from tocsin.pipeline.catalog import Catalog, unique_name

NAME_CHARACTERS_MAX = 64
EMOJI_CODE_POINTS_MAX = 16
"""The longest emoji of Unicode 16, a kiss with two skin tones, has ten."""

COLOR_MAX = 0xFFFFFF
QUICK_START: tuple[tuple[str, int, str], ...] = (
    ("bug", 0xFF6B6B, "🐛"),
    ("sale", 0xFFEB3B, "💰"),
    ("question", 0x6C5CE7, "🤔"),
)
"""Name, colour and emoji of the categories that a new account may begin with."""

RESERVED_NAMES = frozenset({"quickstart"})
"""A category of this name could not be addressed: the path that would be its own is another route."""

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

_JOINER = "\u200d"
_KEYCAP = "\u20e3"
_EMOJI_STYLE = "\ufe0f"


def category_source(name: str) -> str:
    """Return the source of a category's events."""
    return f"pingpilot/category/{name}"


class Categories:
    """Creates, changes and removes categories.

    The plan's limit is exact, whichever processes create at the same time.
    """

    def __init__(
        self, *, catalog: Catalog, clock: Clock, ids: IdSequence, plan_limits: Mapping[Plan, PlanLimits]
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._ids = ids
        self._plan_limits = plan_limits
        self._creating: WeakValueDictionary[OrganisationId, asyncio.Lock] = WeakValueDictionary()

    def all_of(self, organisation_id: OrganisationId) -> list[Category]:
        """Return the organisation's categories, oldest first."""
        return self._catalog.categories(organisation_id)

    def get(self, organisation_id: OrganisationId, name: str) -> Category:
        """Return the category of this name, in any case.

        Raises:
            NotFound: the organisation has none.
        """
        found = self._catalog.find_category(organisation_id, _lower(name))
        if found is None:
            raise NotFound("category not found", code="category_not_found")
        return found

    async def create(
        self, organisation_id: OrganisationId, *, name: str, color: int, emoji: str | None = None
    ) -> Category:
        """Store a category under its name in lower case.

        Raises:
            InvalidRequest: ``fields`` says what breaks a rule.
            NotPermitted: ``category_limit_reached``.
            Conflict: ``name_taken``.
        """
        wanted = self._new(organisation_id, name, color, emoji)
        _check(wanted)
        async with self._lock(organisation_id):
            await self._add(organisation_id, lambda: [wanted])
        return self.get(organisation_id, wanted.name)

    async def quick_start(self, organisation_id: OrganisationId) -> list[Category]:
        """Store those of the quick start set that are missing, all or none; return them.

        Raises:
            NotPermitted: ``category_limit_reached``.
        """
        async with self._lock(organisation_id):
            added = await self._add(organisation_id, lambda: self._missing(organisation_id))
        return [self.get(organisation_id, category.name) for category in added]

    async def change(self, organisation_id: OrganisationId, name: str, changes: dict[str, Any]) -> Category:
        """Replace these of ``name``, ``color`` and ``emoji``; events already accepted keep what they had.

        Raises:
            InvalidRequest, NotFound, Conflict: as above; ``changed_meanwhile`` too.
        """
        before = self.get(organisation_id, name)
        if "name" in changes:
            changes = {**changes, "name": _lower(changes["name"])}
        after = msgspec.structs.replace(before, **changes)
        _check(after)
        if after != before:
            await self._catalog.save(after)
        return self.get(organisation_id, after.name)

    async def delete(self, organisation_id: OrganisationId, name: str) -> None:
        """Remove a category; its events stay.

        Raises:
            NotFound: the organisation has none of this name.
        """
        await self._catalog.remove(Category, organisation_id, self.get(organisation_id, name).id)

    async def _add(self, organisation_id: OrganisationId, wanted: Callable[[], list[Category]]) -> list[Category]:
        """Store categories as far as there is room for all of them; return them."""
        added: list[Category] = []

        def decide() -> list[CatalogOp]:
            added[:] = wanted()
            if added:
                self._check_room(organisation_id, len(added))
            return [Save(each, unique_name(each)) for each in added]

        await self._catalog.write_decided(Category, organisation_id, decide)
        return added

    def _missing(self, organisation_id: OrganisationId) -> list[Category]:
        """Return those of the quick start set that an organisation lacks."""
        return [
            self._new(organisation_id, name, color, emoji)
            for name, color, emoji in QUICK_START
            if self._catalog.find_category(organisation_id, name) is None
        ]

    def _new(self, organisation_id: OrganisationId, name: str, color: int, emoji: str | None) -> Category:
        now_ms = self._clock.now_ms()
        return Category(
            id=KeyId(self._ids.make(now_ms)),
            organisation_id=organisation_id,
            name=_lower(name),
            color=color,
            created_ms=now_ms,
            emoji=emoji,
        )

    def _lock(self, organisation_id: OrganisationId) -> asyncio.Lock:
        return self._creating.setdefault(organisation_id, asyncio.Lock())

    def _check_room(self, organisation_id: OrganisationId, wanted: int) -> None:
        plan = self._catalog.organisation(organisation_id).plan
        limit = self._plan_limits[plan].categories
        have = len(self._catalog.categories(organisation_id))
        if limit is not None and have + wanted > limit:
            raise NotPermitted(
                f"the plan {plan.value} allows {limit} categories, of which {have} are used",
                code="category_limit_reached",
            )


def _check(category: Category) -> None:
    faults = tuple(
        (field, reason)
        for field, reason in (
            ("name", _name_fault(category.name)),
            ("color", None if 0 <= category.color <= COLOR_MAX else "must be #000000 to #FFFFFF"),
            ("emoji", None if category.emoji is None or is_emoji(category.emoji) else "must be one emoji"),
        )
        if reason is not None
    )
    if faults:
        raise InvalidRequest(" ".join(faults[0]), fields=faults)


def _lower(name: str) -> str:
    """Return a name in lower case; outside ASCII there are characters whose lower case is an ASCII letter."""
    return name.lower() if name.isascii() else name


def _name_fault(name: str) -> str | None:
    if name in RESERVED_NAMES:
        return "must be another: this one is a route of its own"
    if 1 <= len(name) <= NAME_CHARACTERS_MAX and _NAME_CHARACTERS.issuperset(name):
        return None
    return f"must be 1 to {NAME_CHARACTERS_MAX} letters, digits or hyphens"


def is_emoji(text: str) -> bool:
    """Return whether ``text`` is one grapheme of those that emoji are made of.

    A keycap, a flag of two letters, or a character that is not ASCII, with marks, skin tones and variation
    selectors behind it, and more of these joined by ZWJ. A new emoji needs no new table: what Python's Unicode data
    do not know yet passes.

    Source: Unicode Technical Standard 51, section 1.4.9 (ED-17a).
    """
    if not 1 <= len(text) <= EMOJI_CODE_POINTS_MAX:
        return False
    if text[0] in "0123456789#*":
        return text[1:] in (_KEYCAP, _EMOJI_STYLE + _KEYCAP)
    if _is_flag_letter(text[0]):
        return len(text) == 2 and _is_flag_letter(text[1])
    return all(_is_joined_part(part) for part in text.split(_JOINER))


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_joined_part(part: str) -> bool:
    return part != "" and _is_base(part[0]) and all(_is_extender(character) for character in part[1:])


def _is_base(character: str) -> bool:
    if character.isascii() or _is_flag_letter(character) or _is_extender(character):
        return False
    kind = unicode_category(character)
    return kind[0] in "LNPS" or (kind == "Cn" and "\U0001f000" <= character <= "\U0001faff")


def _is_extender(character: str) -> bool:
    return (
        unicode_category(character)[0] == "M"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0020" <= character <= "\U000e007f"
    )
