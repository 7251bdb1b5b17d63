"""Native Frame past events: the searchable history of webhook deliveries, and what fills it.

Source: the vendor's page of past events, and its pages of queries, webhooks and tokens; of these it publishes the
concepts and no routes, so the routes are ours.
"""

from __future__ import annotations

from tocsin.dialects.nativeframe.limits import NativeFrameLimits
from tocsin.dialects.nativeframe.routes import NativeFrame

__all__ = ["NativeFrame", "NativeFrameLimits"]
