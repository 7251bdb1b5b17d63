"""The description of the API, as these settings make it: no part of a gateway is needed for it."""

from __future__ import annotations

from typing import Any

from tocsin import __version__
from tocsin.dialects.buildable import BuildableLimits
from tocsin.dialects.buildable import describing as buildable
from tocsin.dialects.native import CloudEventsLimits, NativeLimits
from tocsin.dialects.native import describing as native
from tocsin.dialects.nativeframe import NativeFrameLimits
from tocsin.dialects.nativeframe import describing as nativeframe
from tocsin.dialects.pingpilot import PingPilotLimits
from tocsin.dialects.pingpilot import describing as pingpilot
from tocsin.dialects.promptjang import PromptJangLimits
from tocsin.dialects.promptjang import describing as promptjang
from tocsin.dialects.pushgo import PushGoLimits
from tocsin.dialects.pushgo import describing as pushgo
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.settings import Settings
from tocsin.web.openapi import document, operations


def openapi_document(settings: Settings) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of every route of a gateway with these settings."""
    limits = settings.limits
    promptjang_limits = limits("promptjang", PromptJangLimits)
    return document(
        (
            pushgo.chapter(limits("pushgo", PushGoLimits)),
            pingpilot.chapter(limits("pingpilot", PingPilotLimits)),
            buildable.chapter(limits("buildable", BuildableLimits)),
            nativeframe.chapter(limits("nativeframe", NativeFrameLimits)),
            promptjang.chapter(promptjang_limits),
            native.chapter(
                limits("native", NativeLimits),
                limits("destination", DestinationBounds),
                limits("cloudevents", CloudEventsLimits),
                promptjang.filters_of_one(promptjang_limits),
            ),
            operations.chapter(),
        ),
        version=__version__,
    )
