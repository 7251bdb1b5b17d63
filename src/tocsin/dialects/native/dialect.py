"""All native routes together."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.core.identifiers import IdSequence, OrganisationId
from tocsin.dialects.native.account import AccountRoutes
from tocsin.dialects.native.audit import AuditRoutes
from tocsin.dialects.native.channels import ChannelRoutes
from tocsin.dialects.native.cloudevents import CloudEventRoute
from tocsin.dialects.native.deliveries import DeliveryRoutes
from tocsin.dialects.native.destinations import DestinationRoutes
from tocsin.dialects.native.errors import error_response, not_found
from tocsin.dialects.native.event_data import EventDataRoutes
from tocsin.dialects.native.event_filter import EventFilter
from tocsin.dialects.native.incidents import IncidentRoutes
from tocsin.dialects.native.jobs import JobRoutes
from tocsin.dialects.native.limits import CloudEventsLimits, NativeLimits
from tocsin.dialects.native.organisations import OrganisationRoutes
from tocsin.dialects.native.previews import PreviewRoutes
from tocsin.dialects.native.service_keys import ServiceKeyRoutes
from tocsin.dialects.native.stream import StreamRoutes
from tocsin.dialects.native.telegram_links import TelegramLinkRoutes
from tocsin.dialects.native.transactions import TransactionRoutes
from tocsin.engine.protocol import Engine
from tocsin.pipeline.account import Accounts, Categories
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.pipeline.destinations import DestinationBounds, Destinations
from tocsin.pipeline.ingest import Ingest
from tocsin.pipeline.jobs import Jobs
from tocsin.pipeline.keys import Keys
from tocsin.pipeline.live import Live
from tocsin.pipeline.previews import Previews
from tocsin.pipeline.telegram_binding import TelegramLinks
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Response, Route
from tocsin.web.passwords import ChannelPasswords
from tocsin.web.tokens import Tokens

PREFIX = "/api/v1"
NAME = "native"


class Native:
    """The native API.

    Args:
        events: how the list of events reads what it is narrowed by.
        transports: those that are there.
        services: tells which of Apprise's an organisation may send to.
        bounds: the same that ``destinations`` has.
        cloudevents: the limits of that route.
        plan_changes: whether a key that may manage an organisation may also change its plan.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        engine: Engine,
        ingest: Ingest,
        destinations: Destinations,
        jobs: Jobs,
        events: EventFilter,
        live: Live,
        keys: Keys,
        accounts: Accounts,
        categories: Categories,
        previews: Previews,
        telegram_links: TelegramLinks,
        channels: Channels,
        tokens: Tokens,
        passwords: ChannelPasswords,
        clock: Clock,
        ids: IdSequence,
        transports: frozenset[Transport],
        services: Callable[[OrganisationId], frozenset[str]],
        bounds: DestinationBounds,
        limits: NativeLimits,
        cloudevents: CloudEventsLimits,
        plan_changes: bool = True,
    ) -> None:
        self._guard, self._limits = guard, limits
        self._cloudevents = CloudEventRoute(guard=guard, ingest=ingest, clock=clock, limits=cloudevents)
        self._account = AccountRoutes(
            accounts=accounts,
            categories=categories,
            guard=guard.guard,
            errors=error_response,
            finish=guard.finish,
            plan_changes=plan_changes,
        )
        deliveries = DeliveryRoutes(guard=guard, catalog=catalog, engine=engine, clock=clock, limits=limits)
        self._groups = (
            DestinationRoutes(
                guard=guard,
                catalog=catalog,
                destinations=destinations,
                jobs=jobs,
                transports=transports,
                services=services,
                bounds=bounds,
                limits=limits,
            ),
            *_of_people(guard, catalog, telegram_links, previews, limits),
            deliveries,
            EventDataRoutes(guard=guard, engine=engine),
            StreamRoutes(guard=guard, catalog=catalog, live=live, events=events, delivery_shown=deliveries.shown),
            IncidentRoutes(guard=guard, catalog=catalog, engine=engine, limits=limits),
            TransactionRoutes(guard=guard, engine=engine, limits=limits),
            JobRoutes(guard=guard, engine=engine, jobs=jobs, events=events, limits=limits),
            AuditRoutes(guard=guard, engine=engine, limits=limits),
            *_made_by_hand(guard, catalog, channels, passwords, tokens, keys, clock, ids, limits),
        )

    def routes(self) -> tuple[Route, ...]:
        """Return every native route."""
        ours = tuple(
            Route(
                method=method,
                path=PREFIX + path,
                handler=handler,
                errors=error_response,
                name=NAME,
                body_limit_bytes=self._limits.body_bytes_max,
                finish=self._guard.finish,
            )
            for group in self._groups
            for method, path, handler in group.handlers()
        )
        return (self._cloudevents.route(PREFIX, NAME), *ours, *self._account.routes())

    def not_found(self, request: Request) -> Response:
        """Return the answer to a path below ``/api/v1`` that is nobody's."""
        return not_found(request)


def _of_people(
    guard: Guard, catalog: Catalog, links: TelegramLinks, previews: Previews, limits: NativeLimits
) -> tuple[TelegramLinkRoutes, PreviewRoutes]:
    return (
        TelegramLinkRoutes(guard=guard, catalog=catalog, links=links),
        PreviewRoutes(guard=guard, previews=previews, limits=limits),
    )


def _made_by_hand(
    guard: Guard,
    catalog: Catalog,
    channels: Channels,
    passwords: ChannelPasswords,
    tokens: Tokens,
    keys: Keys,
    clock: Clock,
    ids: IdSequence,
    limits: NativeLimits,
) -> tuple[ChannelRoutes, ServiceKeyRoutes, OrganisationRoutes]:
    return (
        ChannelRoutes(
            guard=guard,
            catalog=catalog,
            channels=channels,
            passwords=passwords,
            clock=clock,
            ids=ids,
            limits=limits,
        ),
        ServiceKeyRoutes(guard=guard, catalog=catalog, tokens=tokens, limits=limits),
        OrganisationRoutes(guard=guard, catalog=catalog, keys=keys, clock=clock, ids=ids, limits=limits),
    )
