"""The Buildable Event API: a transactional log that consumer groups query, claim and finish.

Source: the published pages of the Buildable Event API, and the behaviour of its JavaScript SDK
``@buildable/messages`` 1.1.
"""

from tocsin.dialects.buildable.limits import BuildableLimits
from tocsin.dialects.buildable.routes import Buildable

__all__ = ["Buildable", "BuildableLimits"]
