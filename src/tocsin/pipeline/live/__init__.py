"""The live stream: events and deliveries, told to whoever listens as they happen."""

from tocsin.pipeline.live.elsewhere import Elsewhere, ElsewhereLimits
from tocsin.pipeline.live.happening import DeliveryChange, Happening, Render, change_of
from tocsin.pipeline.live.hub import Live, StreamLimits
from tocsin.pipeline.live.positions import POSITION_KEY_BYTES, Positions
from tocsin.pipeline.live.stream import End, Stream

__all__ = [
    "POSITION_KEY_BYTES",
    "DeliveryChange",
    "Elsewhere",
    "ElsewhereLimits",
    "End",
    "Happening",
    "Live",
    "Positions",
    "Render",
    "Stream",
    "StreamLimits",
    "change_of",
]
