"""The organisation's people: who is told of category events, on which plan, and how much of it is used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from tocsin.core.clock import Clock, month_of, next_month_ms
from tocsin.core.destination import (
    MASK,
    SECRET_ADDRESS_FIELDS,
    USUAL_CONCURRENCY,
    Destination,
    Filter,
    Transport,
)
from tocsin.core.errors import InvalidRequest, NotPermitted, Unprocessable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DestinationId, IdSequence, OrganisationId
from tocsin.core.quota import Plan, PlanLimits, QuotaCharge
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import CatalogOp, Remove, Save
from tocsin.pipeline.account.addresses import fault_of
from tocsin.pipeline.account.categories import category_source
from tocsin.pipeline.catalog import Catalog, unique_name
from tocsin.pipeline.vault import Vault


class DiscordContact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Discord webhook, or a user whom a bot writes to; nothing of it while it is not configured."""

    enabled: bool = False
    webhook_url: str | None = None
    bot_token: str | None = None
    user_id: str | None = None


class TelegramContact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Telegram chat that a bot writes to; nothing of it while it is not configured."""

    enabled: bool = False
    bot_token: str | None = None
    chat_id: str | int | None = None


class EmailContact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mail addresses; none while it is not configured."""

    enabled: bool = False
    to: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an account holds.

    Attributes:
        plan: None leaves it as it is.
    """

    discord: DiscordContact = DiscordContact()
    telegram: TelegramContact = TelegramContact()
    email: EmailContact = EmailContact()
    plan: Plan | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What is used of a plan in this month; a limit of None is no limit.

    Attributes:
        reset_ms: when the count of events begins anew.
    """

    categories_used: int
    categories_limit: int | None
    events_used: int
    events_limit: int | None
    reset_ms: int


Contact = DiscordContact | TelegramContact | EmailContact

CONTACTS: dict[Transport, type[Contact]] = {
    Transport.DISCORD: DiscordContact,
    Transport.TELEGRAM: TelegramContact,
    Transport.EMAIL: EmailContact,
}
"""The ways to an organisation's people, in the order in which they are checked and shown."""

_COMPLETE: dict[Transport, tuple[frozenset[str], ...]] = {
    Transport.DISCORD: (frozenset({"webhook_url"}), frozenset({"bot_token", "user_id"})),
    Transport.TELEGRAM: (frozenset({"bot_token", "chat_id"}),),
    Transport.EMAIL: (frozenset({"to"}),),
}
"""Which fields make an address that can be sent to."""


class Accounts:
    """Reads and replaces accounts, and tells what PingPilot checks before it takes an event.

    Each way to the people is a destination of origin PingPilot, named after its transport. One that is not
    configured, or only half, has an empty address, by which routing knows to leave it out; what there is of a half
    one lies in its sealed part.

    Args:
        transports: what this gateway has: a contact of any other is kept, and nobody is told by it.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        engine: Engine,
        vault: Vault,
        clock: Clock,
        ids: IdSequence,
        plan_limits: Mapping[Plan, PlanLimits],
        transports: Collection[Transport],
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._plan_limits = plan_limits
        self._transports = transports

    # -- before an event --------------------------------------------------------------------------------

    def unreachable(self, organisation_id: OrganisationId) -> Transport | None:
        """Return the transport that must be configured before events are taken, or None when all is well.

        Discord where it is enabled without an address, and where nobody at all would be told; else Telegram where it
        is enabled without an address. Email without an address counts as not enabled, and so does any contact whose
        transport this gateway does not have. A contact that Tocsin disabled by itself, for its address has gone,
        counts as enabled: nobody asked for fewer ways to be told.
        """
        discord, telegram, email = (self._reaching(organisation_id, transport) for transport in CONTACTS)
        if discord is not None and _is_wanted(discord):
            if not discord.address:
                return Transport.DISCORD
        elif not (telegram is not None and _is_wanted(telegram)) and not (
            email is not None and _is_wanted(email) and email.address
        ):
            return Transport.DISCORD
        if telegram is not None and _is_wanted(telegram) and not telegram.address:
            return Transport.TELEGRAM
        return None

    def charge(self, organisation_id: OrganisationId, now_ms: int) -> QuotaCharge:
        """Return the month's counter of an organisation's events, and its limit."""
        return QuotaCharge(f"pingpilot/{month_of(now_ms)}", self._limits(organisation_id).events_per_month)

    async def is_used_up(self, organisation_id: OrganisationId, charge: QuotaCharge) -> bool:
        """Return whether a counter stands at its limit: an early no, since the engine's own count decides."""
        if charge.limit is None:
            return False
        return await self._engine.usage(organisation_id, charge.name) >= charge.limit

    # -- the account ------------------------------------------------------------------------------------

    async def usage(self, organisation_id: OrganisationId) -> Usage:
        """Return what is used of the plan."""
        now_ms = self._clock.now_ms()
        charge = self.charge(organisation_id, now_ms)
        return Usage(
            categories_used=len(self._catalog.categories(organisation_id)),
            categories_limit=self._limits(organisation_id).categories,
            events_used=await self._engine.usage(organisation_id, charge.name),
            events_limit=charge.limit,
            reset_ms=next_month_ms(now_ms),
        )

    def get(self, organisation_id: OrganisationId) -> Account:
        """Return the account, its secrets masked."""
        return Account(
            discord=msgspec.convert(self._shown(organisation_id, Transport.DISCORD), DiscordContact),
            telegram=msgspec.convert(self._shown(organisation_id, Transport.TELEGRAM), TelegramContact),
            email=msgspec.convert(self._shown(organisation_id, Transport.EMAIL), EmailContact),
            plan=self._catalog.organisation(organisation_id).plan,
        )

    async def replace(self, organisation_id: OrganisationId, account: Account, *, may_change_plan: bool) -> Account:
        """Replace the whole account in one commit; return it, its secrets masked.

        A secret given as ``***`` keeps its value. A contact that is neither enabled nor configured is removed, and
        what waits for it is given up.

        Raises:
            InvalidRequest: ``fields`` says what breaks a rule; nothing is stored.
            Unprocessable: ``transport_unavailable``: a contact is enabled that this gateway cannot reach.
            NotPermitted: ``plan_change_forbidden``.
            Conflict: the account was changed meanwhile.
        """
        ops: list[CatalogOp] = []
        faults: list[tuple[str, str]] = []
        for transport in CONTACTS:
            ops += self._contact_ops(organisation_id, transport, getattr(account, transport.value), faults)
        if faults:
            raise InvalidRequest(" ".join(faults[0]), fields=tuple(faults))
        self._check_transports(account)
        organisation = self._catalog.organisation(organisation_id)
        if account.plan not in (None, organisation.plan):
            if not may_change_plan:
                raise NotPermitted("only the operator may change the plan", code="plan_change_forbidden")
            ops.append(Save(msgspec.structs.replace(organisation, plan=account.plan)))
        if ops:
            await self._catalog.write(ops)
        return self.get(organisation_id)

    def _limits(self, organisation_id: OrganisationId) -> PlanLimits:
        return self._plan_limits[self._catalog.organisation(organisation_id).plan]

    def _find(self, organisation_id: OrganisationId, transport: Transport) -> Destination | None:
        return self._catalog.find_named_destination(organisation_id, Dialect.PINGPILOT, transport.value)

    def _reaching(self, organisation_id: OrganisationId, transport: Transport) -> Destination | None:
        return self._find(organisation_id, transport) if transport in self._transports else None

    def _check_transports(self, account: Account) -> None:
        missing = [each for each in CONTACTS if each not in self._transports and getattr(account, each.value).enabled]
        if missing:
            raise Unprocessable(
                f"the transport {missing[0].value} is not available on this gateway",
                code="transport_unavailable",
                fields=tuple((f"{each.value}.enabled", "must be false without this transport") for each in missing),
            )

    def _shown(self, organisation_id: OrganisationId, transport: Transport) -> dict[str, Any]:
        """Return a contact's fields as a person may see them."""
        found = self._find(organisation_id, transport)
        if found is None:
            return {}
        secret = SECRET_ADDRESS_FIELDS[transport]
        half = {} if found.address else self._vault.target(found).secret_address
        shown = found.address or {field: MASK if field in secret else value for field, value in half.items()}
        known = CONTACTS[transport].__struct_fields__
        return {"enabled": found.enabled, **{field: shown[field] for field in known if field in shown}}

    def _contact_ops(
        self, organisation_id: OrganisationId, transport: Transport, contact: Contact, faults: list[tuple[str, str]]
    ) -> list[CatalogOp]:
        """Return what stores a contact; add to ``faults`` what is wrong with it."""
        before = self._find(organisation_id, transport)
        given = {
            field: value for field, value in msgspec.structs.asdict(contact).items() if value and field != "enabled"
        }
        if MASK in given.values() and before is not None:
            kept = self._vault.target(before).secret_address
            given.update({field: kept[field] for field in kept if given.get(field) == MASK})
        faults += [
            (f"{transport.value}.{field}", reason)
            for field, value in given.items()
            if (reason := fault_of(field, value)) is not None
        ]
        if "webhook_url" in given and len(given) > 1:
            faults.append(("discord.webhook_url", "cannot be combined with bot_token and user_id"))
        if contact.enabled or given:
            saved = self._destination(organisation_id, transport, before, enabled=contact.enabled, given=given)
            return [Save(saved, unique_name(saved))]
        return [] if before is None else [Remove(Destination, organisation_id, before.id)]

    def _destination(
        self,
        organisation_id: OrganisationId,
        transport: Transport,
        before: Destination | None,
        *,
        enabled: bool,
        given: dict[str, Any],
    ) -> Destination:
        now_ms = self._clock.now_ms()
        if before is None:
            before = Destination(
                id=DestinationId(self._ids.make(now_ms)),
                organisation_id=organisation_id,
                name=transport.value,
                transport=transport,
                created_ms=now_ms,
                updated_ms=now_ms,
                origin=Dialect.PINGPILOT,
                filter=Filter(sources=(category_source("*"),)),
                ordered=True,
                concurrency=USUAL_CONCURRENCY[transport],
            )
        is_as_before = given == before.address | self._vault.target(before).secret_address
        complete = frozenset(given) in _COMPLETE[transport]
        secret = SECRET_ADDRESS_FIELDS[transport]
        sealed = {field: value for field, value in given.items() if field in secret or not complete}
        place = organisation_id + before.id
        return msgspec.structs.replace(
            before,
            updated_ms=now_ms,
            address={field: MASK if field in secret else given[field] for field in given} if complete else {},
            sealed_address=self._vault.seal(msgspec.json.encode(sealed), place) if sealed else None,
            learned=before.learned if is_as_before else {},
            enabled=enabled,
            disabled_reason=None if enabled else before.disabled_reason,
            failing_since_ms=None if enabled else before.failing_since_ms,
        )


def _is_wanted(contact: Destination) -> bool:
    # Without an address it is no longer the one that Tocsin disabled: a person has taken the address away since.
    return contact.enabled or (contact.disabled_reason is not None and bool(contact.address))
