"""Recorded exchanges: ``*.http`` files of requests and the answers expected, played against a running gateway.

A file is a list of exchanges; each file is played in an organisation of its own::

    # Comments; ``@plan free`` and ``@settings NAME=VALUE ...`` may stand here.
    ### A create is accepted
    @until
    POST /event/create
    Content-Type: application/json

    {"channel_id": "{{channel}}", "title": "{{repeat:a:256}}"}

    --- 200
    content-type: application/json

    {"success": true, "data": {"op_id": "<hex32:op>", "<*>": "<any>"}}

Every answer, and every request that was accepted, is also compared with the OpenAPI document (``described``).

``templates`` says what ``{{...}}`` may be, ``matching`` what ``<...>`` may be, ``parsing`` the rest.
"""

from exchanges.matching import Comparison
from exchanges.model import Exchange, ExchangeFault, ExchangeFile, Gateway, Mismatch
from exchanges.parsing import parse
from exchanges.running import GatewayWith, play, recorded, run

__all__ = [
    "Comparison",
    "Exchange",
    "ExchangeFault",
    "ExchangeFile",
    "Gateway",
    "GatewayWith",
    "Mismatch",
    "parse",
    "play",
    "recorded",
    "run",
]
