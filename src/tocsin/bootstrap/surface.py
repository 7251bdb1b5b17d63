"""Building the dialects and the application that serves them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from tocsin.bootstrap.adapters import OutboundJwks
from tocsin.bootstrap.configuration import plan_limits, retention_ms, secret_key
from tocsin.bootstrap.contacts import apprise_services
from tocsin.bootstrap.mail import unsubscribe_links
from tocsin.bootstrap.parts import Parts, UseCases
from tocsin.bootstrap.reference import openapi_document
from tocsin.core.clock import Clock
from tocsin.core.errors import TocsinError
from tocsin.dialects.buildable import Buildable, BuildableLimits
from tocsin.dialects.native import CloudEventsLimits, Native, NativeLimits, ReferenceRoutes
from tocsin.dialects.native.event_filter import EventFilter
from tocsin.dialects.nativeframe import NativeFrame, NativeFrameLimits
from tocsin.dialects.pingpilot import PingPilot, PingPilotLimits
from tocsin.dialects.promptjang import PromptJang, PromptJangLimits
from tocsin.dialects.promptjang.listing import FILTER_NAMES, parse_listing
from tocsin.dialects.pushgo import PushGo, PushGoLimits
from tocsin.pipeline.audit import Audit
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.pipeline.unsubscribing import Unsubscribing
from tocsin.telemetry import Metrics
from tocsin.web.app import App, Area
from tocsin.web.auth import KeyRing
from tocsin.web.guard import Guard
from tocsin.web.http import Request, Route
from tocsin.web.limits import RateLimits, RateSettings
from tocsin.web.operations import Operations
from tocsin.web.server import ServerLimits
from tocsin.web.tokens import TokenLimits, Tokens
from tocsin.web.unsubscribe import Unsubscribe

if TYPE_CHECKING:
    from tocsin.telemetry.tracing import Tracing

_log = structlog.get_logger("tocsin")


def build_app(parts: Parts, use: UseCases) -> App:
    """Return the application: every dialect's routes on one port."""
    settings = parts.settings
    ring = KeyRing(parts.catalog, audit=Audit(clock=parts.clock, ids=parts.ids))
    server = settings.limits("server", ServerLimits)
    rates = settings.limits("rate", RateSettings, plans=plan_limits(settings))
    guard = Guard(keys=ring, catalog=parts.catalog, limits=RateLimits(clock=parts.clock, settings=rates))
    pushgo = _pushgo(parts, use, ring)
    tokens = _tokens(parts)
    nativeframe = _nativeframe(parts, use, ring, tokens)
    native = _native(parts, use, guard, tokens)
    dialects = (
        pushgo,
        _pingpilot(parts, use, ring),
        _buildable(parts, use, ring),
        nativeframe,
        _promptjang(parts, use, guard),
        native,
        Operations(engine=parts.engine, metrics=parts.metrics, measuring=parts.measuring),
        ReferenceRoutes(build=lambda: openapi_document(settings)),
        _unsubscribe(parts),
    )
    return App(
        [route for dialect in dialects for route in dialect.routes()],
        [
            Area("", pushgo.not_found),
            Area("/api/v1", native.not_found, guard.finish),
            Area("/events/v2", nativeframe.not_found),
            Area("/auth/v1", nativeframe.not_found),
        ],
        report=reporter(parts.metrics, parts.tracing),
        body_deadline_s=server.body_deadline_s,
        bodies_bytes_max=server.bodies_bytes_max,
        timer=parts.metrics.request_timer,
    )


def _unsubscribe(parts: Parts) -> Unsubscribe:
    # Its links work whether or not more are made: those in mails that were sent stay.
    return Unsubscribe(
        links=unsubscribe_links(parts.settings, secret_key(parts.settings, fresh=False)),
        unsubscribing=Unsubscribing(catalog=parts.catalog, clock=parts.clock, ids=parts.ids),
    )


def _pushgo(parts: Parts, use: UseCases, ring: KeyRing) -> PushGo:
    token = parts.settings.values.pushgo_token
    return PushGo(
        ingest=parts.ingest,
        catalog=parts.catalog,
        engine=parts.engine,
        keys=ring,
        channels=use.channels,
        passwords=use.passwords,
        clock=parts.clock,
        entropy=os.urandom,
        gateway_token=None if token is None else token.get_secret_value(),
        limits=parts.settings.limits("pushgo", PushGoLimits),
    )


def _pingpilot(parts: Parts, use: UseCases, ring: KeyRing) -> PingPilot:
    return PingPilot(
        ingest=parts.ingest,
        catalog=parts.catalog,
        keys=ring,
        accounts=use.accounts,
        first_attempts=parts.first_attempts,
        clock=parts.clock,
        limits=parts.settings.limits("pingpilot", PingPilotLimits),
    )


def _buildable(parts: Parts, use: UseCases, ring: KeyRing) -> Buildable:
    return Buildable(
        ingest=parts.ingest,
        consumption=use.consumption,
        keys=ring,
        clock=parts.clock,
        event_retention_ms=retention_ms(parts.settings),
        limits=parts.settings.limits("buildable", BuildableLimits),
    )


def _tokens(parts: Parts) -> Tokens:
    values = parts.settings.values
    return Tokens(
        catalog=parts.catalog,
        vault=parts.vault,
        clock=parts.clock,
        ids=parts.ids,
        jwks=OutboundJwks(parts.client),
        limits=parts.settings.limits("jwt", TokenLimits, issuer=values.jwt_issuer, audience=values.jwt_audience),
    )


def _nativeframe(parts: Parts, use: UseCases, ring: KeyRing, tokens: Tokens) -> NativeFrame:
    return NativeFrame(
        keys=ring,
        tokens=tokens,
        catalog=parts.catalog,
        engine=parts.engine,
        ingest=parts.ingest,
        destinations=use.destinations,
        clock=parts.clock,
        limits=parts.settings.limits("nativeframe", NativeFrameLimits),
        debug=parts.settings.values.debug,
    )


def _promptjang(parts: Parts, use: UseCases, guard: Guard) -> PromptJang:
    return PromptJang(
        guard=guard,
        catalog=parts.catalog,
        engine=parts.engine,
        ingest=parts.ingest,
        destinations=use.destinations,
        replay=use.replay,
        recovery=use.recovery,
        keys=use.keys,
        clock=parts.clock,
        limits=parts.settings.limits("promptjang", PromptJangLimits),
    )


def _native(parts: Parts, use: UseCases, guard: Guard, tokens: Tokens) -> Native:
    return Native(
        guard=guard,
        catalog=parts.catalog,
        engine=parts.engine,
        ingest=parts.ingest,
        destinations=use.destinations,
        jobs=use.jobs,
        events=_event_filter(parts.settings.limits("promptjang", PromptJangLimits), parts.clock),
        live=parts.live,
        accounts=use.accounts,
        categories=use.categories,
        previews=use.previews,
        telegram_links=use.telegram_links,
        services=apprise_services(parts.settings).names,
        channels=use.channels,
        tokens=tokens,
        passwords=use.passwords,
        keys=use.keys,
        clock=parts.clock,
        ids=parts.ids,
        transports=parts.transports,
        bounds=parts.settings.limits("destination", DestinationBounds),
        limits=parts.settings.limits("native", NativeLimits),
        cloudevents=parts.settings.limits("cloudevents", CloudEventsLimits),
        plan_changes=parts.settings.values.plan_changes,
    )


def _event_filter(limits: PromptJangLimits, clock: Clock) -> EventFilter:
    """Return how the list of events, which is PromptJang's, reads what it is narrowed by."""
    return EventFilter(
        FILTER_NAMES,
        lambda given, organisation_id, environment: (
            parse_listing(
                given,
                organisation_id=organisation_id,
                environment=environment,
                now_ms=clock.now_ms(),
                limits=limits,
            ).query
        ),
    )


def reporter(metrics: Metrics, tracing: Tracing | None) -> Callable[[Route, Request, int, Exception | None], None]:
    """Return what counts answers and logs faults of ours."""

    def report(route: Route, request: Request, status: int, fault: Exception | None) -> None:
        metrics.answered(route.name, route.method, route.path, status)
        if tracing is not None:
            tracing.answered(route.name, route.method, route.path, status)
        if fault is not None:
            metrics.refused(route.name, fault.code if isinstance(fault, TocsinError) else TocsinError.code)
        if fault is not None and status == 500:
            metrics.fault()
            _log.error(
                "request_failed",
                dialect=route.name,
                route=f"{route.method} {route.path}",
                path=request.url_path,
                exc_info=fault,
            )

    return report
