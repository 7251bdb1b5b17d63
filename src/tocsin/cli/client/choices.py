"""What the global options say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Choices:
    """What the global options say.

    Attributes:
        flags: values from the command line; those behind the command count before those in front of it.
        variables: values from the environment.
    """

    flags: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """Return a value, or None where nothing is said."""
        return self.flags.get(name, self.variables.get(name))
