"""Native Frame's tokens: minted with an organisation's service key, checked against it or its external key set.

PyJWT verifies signatures and nothing else. By itself it lets through a token without ``exp``, with ``exp`` as text or
in the year 9999, and with a key of one byte, so every claim and every key is judged here.
"""

from __future__ import annotations

from tocsin.web.tokens.authority import Tokens
from tocsin.web.tokens.external import JwksSource
from tocsin.web.tokens.jwk import ALGORITHMS, EDDSA, ES256, RS256
from tocsin.web.tokens.limits import TokenLimits

__all__ = ["ALGORITHMS", "EDDSA", "ES256", "RS256", "JwksSource", "TokenLimits", "Tokens"]
