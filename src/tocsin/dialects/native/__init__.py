"""The native API: what an operator does, and what the five dialects leave out."""

from tocsin.dialects.native.dialect import Native
from tocsin.dialects.native.limits import CloudEventsLimits, NativeLimits
from tocsin.dialects.native.reference import ReferenceRoutes

__all__ = ["CloudEventsLimits", "Native", "NativeLimits", "ReferenceRoutes"]
