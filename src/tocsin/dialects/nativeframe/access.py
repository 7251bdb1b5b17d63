"""Who asks: a token or an API key, in the same header."""

from __future__ import annotations

from tocsin.core.errors import NotAuthenticated, NotPermitted
from tocsin.core.event import Environment
from tocsin.core.organisation import GRANTABLE_SCOPES, Scope
from tocsin.web.auth import KeyRing, Principal, bearer
from tocsin.web.http import Request
from tocsin.web.tokens import Tokens

_KEY_PREFIX = "tcs_"
"""How every API key begins; a token begins with the base64 of a brace."""


class Access:
    """Finds the principal of a request.

    Args:
        keys: finds that of an API key.
        tokens: finds the organisation of a token.
    """

    def __init__(self, *, keys: KeyRing, tokens: Tokens) -> None:
        self._keys = keys
        self._tokens = tokens

    async def principal(self, request: Request, scope: Scope) -> Principal:
        """Return who asks. A token may do all that a key may, on live events.

        Raises:
            NotAuthenticated: nobody, or nobody known.
            NotPermitted: ``missing_scope``.
        """
        shown = bearer(request.header(b"authorization"))
        if not shown:
            raise NotAuthenticated("a token or an API key is required")
        if shown.startswith(_KEY_PREFIX):
            found = self._keys.find(shown)
            if found is None:
                raise NotAuthenticated("the API key is not valid", code="invalid_key")
        else:
            organisation_id = await self._tokens.check(shown)
            found = Principal(organisation_id=organisation_id, environment=Environment.LIVE, scopes=GRANTABLE_SCOPES)
        found.require(scope)
        if scope is Scope.MANAGE:
            self._keys.note(found, request.client)
        return found

    async def key_holder(self, request: Request, scope: Scope) -> Principal:
        """Return who asks, if it was with an API key: a token must not be able to prolong itself.

        Raises:
            NotPermitted: ``api_key_required``, also as ``principal``.
        """
        found = await self.principal(request, scope)
        if found.key_id is None:
            raise NotPermitted("this needs an API key", code="api_key_required")
        return found
