"""PushGo's routes, put together."""

from __future__ import annotations

from collections.abc import Callable

from tocsin.core.clock import Clock
from tocsin.core.event import Dialect
from tocsin.dialects.pushgo.around import AroundRoutes
from tocsin.dialects.pushgo.channels import ChannelRoutes
from tocsin.dialects.pushgo.devices import DeviceRoutes, Devices
from tocsin.dialects.pushgo.entrance import Entrance
from tocsin.dialects.pushgo.envelope import Envelope
from tocsin.dialects.pushgo.events import EventRoutes
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.dialects.pushgo.mailbox import MailboxRoutes
from tocsin.dialects.pushgo.messages import MessageRoutes
from tocsin.dialects.pushgo.sync import SyncRoute
from tocsin.engine.protocol import Engine
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.pipeline.ingest import Ingest
from tocsin.web.auth import KeyRing
from tocsin.web.http import Handler, Request, Response, Route
from tocsin.web.passwords import ChannelPasswords


class PushGo:
    """The PushGo Event API: events, messages, channels and the devices that pull them.

    Args:
        gateway_token: the one token of the gateway; None lets requests without a bearer in.
        entropy: returns that many random bytes.

    Source: PushGo's published Event API of spring 2026, and what its public gateway v1.2.9 answers.
    """

    def __init__(
        self,
        *,
        ingest: Ingest,
        catalog: Catalog,
        engine: Engine,
        keys: KeyRing,
        channels: Channels,
        passwords: ChannelPasswords,
        clock: Clock,
        entropy: Callable[[int], bytes],
        gateway_token: str | None = None,
        limits: PushGoLimits | None = None,
    ) -> None:
        self._limits = limits = PushGoLimits() if limits is None else limits
        self._envelope = Envelope(entropy)
        entrance = Entrance(keys=keys, catalog=catalog, passwords=passwords, gateway_token=gateway_token)
        devices = Devices(engine=engine, clock=clock, entropy=entropy, limits=limits)
        self._events = EventRoutes(ingest=ingest, entrance=entrance, clock=clock, entropy=entropy, limits=limits)
        self._messages = MessageRoutes(ingest=ingest, entrance=entrance, clock=clock, entropy=entropy, limits=limits)
        self._devices = DeviceRoutes(entrance=entrance, devices=devices, limits=limits)
        self._channels = ChannelRoutes(
            engine=engine,
            catalog=catalog,
            entrance=entrance,
            devices=devices,
            channels=channels,
            passwords=passwords,
            clock=clock,
            entropy=entropy,
            limits=limits,
        )
        self._sync = SyncRoute(engine=engine, entrance=entrance, devices=devices, limits=limits)
        self._mailbox = MailboxRoutes(engine=engine, entrance=entrance, devices=devices, clock=clock, limits=limits)
        self._around = AroundRoutes(engine=engine, entrance=entrance)

    def routes(self) -> tuple[Route, ...]:
        """Return every route of the dialect."""
        return (
            self._route("POST", "/event/create", self._events.create),
            self._route("POST", "/event/update", self._events.update),
            self._route("POST", "/event/close", self._events.close),
            self._route("POST", "/message", self._messages.post),
            self._route("GET", "/message", self._messages.get, head=False),
            self._route("POST", "/device/register", self._devices.register),
            self._route("POST", "/channel/device", self._devices.change),
            self._route("POST", "/channel/device/delete", self._devices.delete),
            self._route("POST", "/channel/device/provider-token/retire", self._devices.retire),
            self._route("POST", "/channel/subscribe", self._channels.subscribe),
            self._route("POST", "/channel/unsubscribe", self._channels.unsubscribe),
            self._route("GET", "/channel/exists", self._channels.exists),
            self._route("POST", "/channel/rename", self._channels.rename),
            self._route(
                "POST", "/channel/sync", self._sync.sync, body_limit_bytes=self._limits.sync_body_limit_bytes
            ),
            self._route("POST", "/messages/pull", self._mailbox.pull),
            self._route("POST", "/messages/ack", self._mailbox.ack),
            self._route("GET", "/gateway/profile", self._around.profile),
            self._route("GET", "/", self._around.root),
            self._route("GET", "/healthz", self._around.healthz),
            self._route("GET", "/readyz", self._around.readyz),
        )

    def not_found(self, request: Request) -> Response:
        """Return the answer to a path that no dialect has."""
        return self._envelope.not_found(request)

    def _route(
        self,
        method: str,
        path: str,
        handler: Handler,
        *,
        head: bool = True,
        body_limit_bytes: int | None = None,
    ) -> Route:
        return Route(
            method=method,
            path=path,
            handler=handler,
            errors=self._envelope.error,
            name=Dialect.PUSHGO,
            body_limit_bytes=self._limits.body_limit_bytes if body_limit_bytes is None else body_limit_bytes,
            # The bearer and the content type are judged before the encoding and the size.
            body_limit_first=False,
            head=head,
            finish=self._envelope.finish,
        )
