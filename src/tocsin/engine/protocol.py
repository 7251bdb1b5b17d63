"""What an engine does. The contract of every method stands here; ``testing/engine_contract`` holds it.

Every list is a batch, and each call is durable when it returns. A method holds no policy: retry delays, limits
and authorisation are decided above it, and the rules of incidents and transactions are the core's own functions,
called inside the engine's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from tocsin.core.delivery import Lease
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.job import Job
from tocsin.core.transaction import Transaction, TransactionRefusal
from tocsin.engine.rows import (
    Acceptance,
    Amendment,
    AmendmentResult,
    CatalogDelta,
    CatalogOp,
    CatalogResult,
    Hint,
    Info,
    JobResult,
    MailboxOp,
    MailboxResult,
    Measures,
    NewEvent,
    Page,
    Query,
    SaveJob,
    Settlement,
    TailPage,
    TransactionStep,
)

T = TypeVar("T")


class Engine(Protocol):
    """Durable state.

    Every method raises ``core.errors.Unavailable`` when the store cannot answer now; then nothing of the call was
    stored, unless its idempotency key says otherwise on a repeat.
    """

    async def open(self) -> Info:
        """Open the store, bringing its schema up to date.

        Raises:
            EngineRefused: the store is held by another process, damaged, or newer than this program.
        """
        ...

    async def close(self) -> None:
        """Finish what is queued, then release the store. Idempotent."""
        ...

    async def probe(self) -> Info:
        """Return what the store promises, after showing that it can write."""
        ...

    async def measure(self) -> Measures:
        """Return how much is live and waits; its cost grows with the queue, never with the history."""
        ...

    # -- write ------------------------------------------------------------------------------------------

    async def accept(self, events: Sequence[NewEvent], *, lease_until_ms: int) -> list[Acceptance]:
        """Store each event with its idempotency keys, quota, incident, deliveries and mailbox items, or none of it.

        Judged in order, as if one after another: its keys (one that is known for another request is a
        ``KeyConflict``; else one that is known makes it ``Repeated``, and the others are kept for that first event
        too), the incident's rule (``IncidentRefused``), the quota (``QuotaExceeded``). What is refused leaves nothing
        behind, its keys neither. One event that cannot be stored fails alone. Deliveries of one lane go one after
        another, in the order in which their events were accepted, whatever their ids say; all of them are of the
        lane's bucket.

        Args:
            lease_until_ms: until when the deliveries marked ``leased`` belong to this process.
        """
        ...

    async def claim(
        self,
        *,
        limit: int,
        per_destination: int,
        lease_until_ms: int,
        skip: frozenset[DestinationId] = frozenset(),
    ) -> list[Lease]:
        """Lease due deliveries, those whose lease ran out included.

        Fair: every destination with due work gets its turn, the longest due first, before any gets more than
        ``per_destination``.

        Args:
            limit: how many in all.
            skip: destinations that cannot take any now.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Record attempts and what becomes of their deliveries.

        False where the lease was lost: the delivery is left alone, and the attempt is kept with number 0. A lease
        counts once, so what else a batch says of it comes too late. A settled delivery of a lane lets the next one
        go. What a remote calls a message that was delivered in a lane is kept as the lane's ``Posted``, unless that
        tells a newer event. May wait a moment for company.
        """
        ...

    async def wait(self, timeout_s: float, hint: Hint = Hint.WORK) -> None:
        """Return when there may be something new to claim or in the catalog, or after ``timeout_s``.

        Only a hint, for one who waits for each: claiming, and asking what changed, are the truth.
        """
        ...

    async def amend(self, amendments: Sequence[Amendment]) -> list[AmendmentResult]:
        """Cancel or retry deliveries by hand, each within its organisation."""
        ...

    # -- consume ----------------------------------------------------------------------------------------

    async def transact(self, steps: Sequence[TransactionStep]) -> list[Transaction | TransactionRefusal]:
        """Move consumer transactions by the core's rules; of racing steps on one transaction one comes first.

        ``NOT_FOUND`` also where the organisation has no such event.
        """
        ...

    # -- read -------------------------------------------------------------------------------------------

    async def find(self, kind: type[T], organisation_id: OrganisationId, ids: Sequence[bytes]) -> list[T | None]:
        """Return the records of these ids, in their order; None for each that this organisation lacks.

        Args:
            kind: ``Event``, ``EventRow``, ``Delivery``, ``Incident``, ``Job``, ``Device`` (whose id is its key in
                UTF-8), ``TransactionTally`` (whose id is its event's; there is none where no group has begun it) or
                ``Posted`` (whose id is its destination's with its lane behind it).
        """
        ...

    async def search(self, query: Query[T], *, limit: int, cursor: bytes | None = None, offset: int = 0) -> Page[T]:
        """Return one page of what the query matches, in the order the query names.

        Args:
            cursor: a previous page's ``next_cursor``.
            offset: rows to skip instead; its cost grows with it.

        A page ends before the row whose payload would pass the engine's bound on a page's bytes, but has one row at
        least; its cursor goes on from there.
        A search for events that finds little among much is cut off instead, and its page is ``partial``.

        Raises:
            Unavailable: the search took longer than the engine's bound.
        """
        ...

    async def tail(
        self,
        cursor: int | None,
        limit: int,
        *,
        back: int = 0,
        organisations: frozenset[OrganisationId] | None = None,
        with_data: bool = True,
        with_destinations: bool = False,
    ) -> TailPage:
        """Return events in the order in which they became visible, none left out, oldest first.

        Args:
            cursor: a previous page's, or the position of one of its events; None starts behind the newest.
            back: without a cursor, start so many events before that. Positions do not count events: two of them may
                be any distance apart.
            organisations: those whose events are meant; None is all. A page may be empty and yet have ``more`` behind
                it, where many events of others were passed over.
            with_data: False leaves the data out; the events' data is empty then. A page ends early where it would
                pass the engine's bound on a page's bytes.
            with_destinations: also tell where the deliveries of each event go.
        """
        ...

    async def usage(self, organisation_id: OrganisationId, counter: str) -> int:
        """Return how much of a quota's counter is used; 0 where it never was."""
        ...

    # -- catalog ----------------------------------------------------------------------------------------

    async def catalog_write(self, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
        """Save and remove organisations, keys, channels, categories, destinations and service keys; keep records.

        All of the ops or none: any conflict refuses the whole list. What waits for a destination that is removed is
        due at once, so that whoever claims it can give it up; a removed channel has no subscribers any more.
        """
        ...

    async def catalog_since(self, revision: int) -> CatalogDelta:
        """Return what changed after ``revision``; 0 returns everything."""
        ...

    # -- jobs -------------------------------------------------------------------------------------------

    async def job_write(self, ops: Sequence[SaveJob]) -> list[JobResult]:
        """Save each job that still has the revision it was read with, and its record; the others stay as they are."""
        ...

    async def open_jobs(self, limit: int, *, after: OrganisationId | None = None) -> list[Job]:
        """Return the oldest job that has not ended of each organisation, in the order of the organisations' ids.

        A job that was cancelled is among them until its ``ended_ms`` says that its last batch is over.

        Args:
            after: only organisations whose ids are behind this one.
        """
        ...

    # -- mailboxes --------------------------------------------------------------------------------------

    async def mailbox_write(self, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
        """Save devices, change their subscriptions, put items into mailboxes and take acknowledged ones out."""
        ...

    # -- tend -------------------------------------------------------------------------------------------

    async def tend(self, budget_ms: int) -> bool:
        """Drop what is past its time: keys, mailbox items, history, jobs, audit, ... True when there is more to do.

        An event stays while a delivery of it is live or an item of it waits in a mailbox, an incident while it is
        open, a job until it has been over for that long. The calls up to the first that returns False are one round,
        in which everything is looked at once: what is kept costs a round as much as what goes, and what comes to its
        end behind the place that a round has reached goes in the next.

        Args:
            budget_ms: how long one call may hold up other writes.
        """
        ...
