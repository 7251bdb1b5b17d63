"""PushGo: lifecycle notifications on channels, pulled by devices."""

from tocsin.dialects.pushgo.dialect import PushGo
from tocsin.dialects.pushgo.limits import PushGoLimits

__all__ = ["PushGo", "PushGoLimits"]
