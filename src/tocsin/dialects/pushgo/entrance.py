"""What every route begins with: who asks, what the body holds, and whether a channel opens."""

from __future__ import annotations

import hmac

from tocsin.core.errors import (
    InvalidRequest,
    MalformedBody,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PayloadTooLarge,
)
from tocsin.core.event import Environment
from tocsin.core.identifiers import DEFAULT_ORGANISATION, ChannelId, OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, Channel, Scope
from tocsin.dialects import strict_json
from tocsin.dialects.pushgo.fields import Body, DataFault
from tocsin.pipeline.catalog import Catalog
from tocsin.web.auth import KeyRing, Principal, bearer
from tocsin.web.http import Request
from tocsin.web.passwords import ChannelPasswords

_ANYBODY = Principal(organisation_id=DEFAULT_ORGANISATION, environment=Environment.LIVE, scopes=GRANTABLE_SCOPES)
"""Who shows no bearer, or the gateway's token."""


class Entrance:
    """Finds out who asks and whether a channel opens to them.

    Args:
        gateway_token: when given, no request is let in without it or an API key.
    """

    def __init__(
        self, *, keys: KeyRing, catalog: Catalog, passwords: ChannelPasswords, gateway_token: str | None
    ) -> None:
        self._keys = keys
        self._catalog = catalog
        self._passwords = passwords
        self._gateway_token = None if gateway_token is None else gateway_token.encode()

    def principal(self, request: Request, scope: Scope) -> Principal:
        """Return who asks.

        Raises:
            NotAuthenticated: ``authentication_failed``: a bearer that nobody has, or none where one is needed.
            NotPermitted: ``missing_scope``.
        """
        found = self._found(request)
        found.require(scope)
        if scope is Scope.MANAGE:
            self._keys.note(found, request.client)
        return found

    def _found(self, request: Request) -> Principal:
        header = request.header(b"authorization")
        token = bearer(header)
        if token is None:
            if self._gateway_token is not None or _names_bearer(header):
                raise _stranger()
            return _ANYBODY
        if self._gateway_token is not None and hmac.compare_digest(token.encode("latin-1"), self._gateway_token):
            return _ANYBODY
        found = self._keys.find(token)
        if found is None:
            raise _stranger()
        return found

    def channel(self, organisation_id: OrganisationId, channel_id: ChannelId) -> Channel:
        """Return the organisation's channel.

        Raises:
            NotFound: ``channel_not_found``.
        """
        found = self._catalog.find_channel(organisation_id, channel_id)
        if found is None:
            raise NotFound("channel not found", code="channel_not_found")
        return found

    async def opened_channel(
        self, principal: Principal, channel_id: ChannelId, password: str, request: Request
    ) -> Channel:
        """Return the channel that ``password`` opens.

        Raises:
            NotFound: ``channel_not_found``.
            NotPermitted: ``password_mismatch``.
            RateLimited: ``too_many_attempts``.
            Unavailable: too many passwords wait to be checked.
        """
        channel = self.channel(principal.organisation_id, channel_id)
        if not await self._passwords.matches(channel, password, client=request.client):
            raise NotPermitted("invalid channel password", code="password_mismatch")
        return channel


def json_body(request: Request, limit_bytes: int) -> Body:
    """Return the JSON object that a request holds: content type, encoding, size and syntax, in this order.

    Raises:
        InvalidRequest: ``missing_json_content_type``, ``invalid_json_syntax`` or ``invalid_json_data``.
        PayloadTooLarge: ``payload_too_large``.
        UnsupportedMediaType: the body is encoded.
    """
    if not _is_json(request.header(b"content-type")):
        raise InvalidRequest("missing Content-Type: application/json", code="missing_json_content_type")
    request.refuse_encoded()
    if len(request.body) > limit_bytes:
        raise PayloadTooLarge("payload too large")
    try:
        value = strict_json.decode(request.body)
    except MalformedBody as error:
        raise MalformedBody(f"invalid JSON syntax: {error.detail}", code="invalid_json_syntax") from None
    if not isinstance(value, dict):
        raise DataFault("the body must be an object")
    return value


def query_of(request: Request, *, required: frozenset[str], optional: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return a query's fields by name.

    Raises:
        InvalidRequest: ``invalid_query``: a name is missing, unknown, or there twice.
    """
    query: dict[str, str] = {}
    for name, value in request.query_list:
        if name in query:
            raise query_fault(f"field `{name}` is there twice")
        if name not in required and name not in optional:
            raise query_fault(f"unknown field `{name[:64]}`")
        query[name] = value
    for name in sorted(required - query.keys()):
        raise query_fault(f"missing field `{name}`")
    return query


def query_fault(reason: str) -> InvalidRequest:
    """Return the error for a query that is not of the form asked for."""
    return InvalidRequest(f"invalid query: {reason}", code="invalid_query")


def _is_json(content_type: str | None) -> bool:
    if content_type is None:
        return False
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _names_bearer(header: str | None) -> bool:
    # The scheme with no token behind it: whoever sends it means to authenticate.
    return header is not None and header.strip().lower() == "bearer"


def _stranger() -> NotAuthenticated:
    return NotAuthenticated("authentication failed", code="authentication_failed")
