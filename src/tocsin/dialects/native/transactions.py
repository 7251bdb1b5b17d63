"""The route of transactions: which consumer group stands where with which event."""

from __future__ import annotations

from typing import Any

from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import hex32, prefixed
from tocsin.core.organisation import Scope
from tocsin.core.transaction import StateChange, TransactionState
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, Listing, by_id_and_key, page_response, read_listing
from tocsin.dialects.native.reading import Reader, choice, text
from tocsin.dialects.native.rendering import EVENT, time_or_null, time_shown
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import TransactionQuery, TransactionRow
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response

_SPELLINGS = {"txKey": "tx_key", "eventName": "type"}
"""Buildable's words for our parameters, which its users know."""


class TransactionRoutes:
    """Handler of ``/transactions``."""

    def __init__(self, *, guard: Guard, engine: Engine, limits: NativeLimits) -> None:
        self._guard = guard
        self._engine = engine
        self._limits = limits
        term = text(1, limits.term_characters_max)
        self._terms: dict[str, Reader] = {
            "tx_key": term,
            "type": term,
            "state": choice(TransactionState),
            **dict.fromkeys(_SPELLINGS, term),
            **WINDOW,
        }

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        return (("GET", "/transactions", self.list),)

    async def list(self, request: Request) -> Response:
        """Return a page of transactions of the key's environment, their events oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, self._terms, self._limits, cursor=by_id_and_key)
        terms = _in_our_words(listing)
        page = await self._engine.search(
            TransactionQuery(
                organisation_id=principal.organisation_id,
                environment=principal.environment,
                since_ms=terms.get("since"),
                until_ms=terms.get("until"),
                tx_key=terms.get("tx_key"),
                type=terms.get("type"),
                state=terms.get("state"),
            ),
            limit=listing.limit,
            cursor=listing.cursor,
        )
        return page_response("transactions", page, _shown)


def _in_our_words(listing: Listing) -> dict[str, Any]:
    terms = dict(listing.terms)
    twice = tuple(
        (theirs, f"is given as {ours} too")
        for theirs, ours in _SPELLINGS.items()
        if theirs in terms and ours in terms
    )
    if twice:
        raise InvalidRequest(f"{twice[0][0]} {twice[0][1]}", fields=twice)
    return {_SPELLINGS.get(name, name): value for name, value in terms.items()}


def _shown(row: TransactionRow) -> dict[str, Any]:
    transaction = row.transaction
    return {
        "event_id": prefixed(EVENT, transaction.event_id),
        # What Buildable's routes call the event.
        "key": hex32(transaction.event_id),
        "tx_key": transaction.tx_key,
        "type": transaction.event_type,
        "state": transaction.state.value,
        "environment": row.environment.value,
        "started_at": time_shown(transaction.started_ms),
        "ended_at": time_or_null(transaction.ended_ms),
        "lease_until": time_or_null(transaction.lease_until_ms),
        "output": transaction.output,
        "history": [_step_shown(step) for step in transaction.history],
        "steps_dropped": transaction.steps_dropped,
    }


def _step_shown(step: StateChange) -> dict[str, Any]:
    return {"from": step.left, "to": step.entered, "at": time_shown(step.at_ms), "by": step.by}
