"""The description of the API: what a dialect says of its routes, and the OpenAPI 3.1 document made of it.

A dialect has a module ``describing`` whose ``chapter(limits)`` returns a ``Chapter``: an ``Operation`` for each of
its routes, by ``"METHOD /path"``. ``document`` puts the chapters together. Nothing here needs a running gateway.
"""

from __future__ import annotations

from tocsin.web.openapi.document import document
from tocsin.web.openapi.model import Answer, Body, Chapter, Operation, Parameter, codes_everywhere

__all__ = ["Answer", "Body", "Chapter", "Operation", "Parameter", "codes_everywhere", "document"]
