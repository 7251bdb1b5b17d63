"""Write docs/lifecycle.md from core/lifecycle.py; with --check only say whether it is in step."""

from __future__ import annotations

import inspect
import sys
from enum import StrEnum
from itertools import pairwise

from generated import write_or_check
from tocsin.core.delivery import LIVE, DeliveryState
from tocsin.core.incident import IncidentState
from tocsin.core.job import JobState
from tocsin.core.lifecycle import MACHINES, Machine
from tocsin.core.transaction import ENDED, TransactionState

_HEAD = """# Lifecycles

Generated from `src/tocsin/core/lifecycle.py` by `docs/generate_lifecycle.py`; `make docs` writes it anew. An arrow
that is not drawn does not happen: tests hold every pair of a state and a trigger against the rules and the engine.
"""

_STATES: dict[str, type[StrEnum]] = {
    "delivery": DeliveryState,
    "incident": IncidentState,
    "transaction": TransactionState,
    "job": JobState,
}

_ABOUT = {
    "delivery": """One event on its way to one destination. A final delivery comes back to life only by hand. At an
ordered destination those of one subject form a lane: all but one are blocked, in the order in which their events were
accepted, and whatever ends that one lets the next go. One that is retried by hand while its lane is busy waits there,
blocked, in its old place.""",
    "incident": """What PushGo's events create, update and close. An update that happened before the close and comes
after it is kept in the timeline and changes nothing.""",
    "transaction": """One consumer group's claim on one event; where there is none, Buildable says `does-not-exist`.
Ending it again in the same way changes nothing. `pending` is a word of Buildable's for which nothing stands here: a
transaction begins in `processing`.""",
    "job": """A bulk replay or a recovery, done in batches. Each batch is written down before it is done, so that
after a crash it is done again and counted once. A job that was under way when the process ended is begun again by the
next one. The batch that was under way when a job was cancelled is counted too.""",
}

_FINAL: dict[str, frozenset[StrEnum]] = {
    "delivery": frozenset(DeliveryState) - LIVE,
    "incident": frozenset({IncidentState.CLOSED}),
    "transaction": frozenset(ENDED),
    "job": frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED}),
}


def _state_docs(kind: type[StrEnum]) -> dict[str, str]:
    """Return what stands under each state in its class."""
    lines = inspect.getsource(kind).splitlines()
    found: dict[str, str] = {}
    for line, below in pairwise(lines):
        name, equals, _ = line.strip().partition(" = ")
        if equals and below.strip().startswith('"""'):
            found[kind[name].value] = below.strip().strip('"')
    return found


def diagram(machine: Machine[StrEnum], final: frozenset[StrEnum]) -> str:
    """Return a machine as a state diagram; triggers that lead the same way share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (left, trigger), entered in machine.items():
        arrows.setdefault(("[*]" if left is None else left.value, entered.value), []).append(trigger)
    lines = [f"  {left} --> {entered}: {' / '.join(triggers)}" for (left, entered), triggers in arrows.items()]
    reached = {entered for _, entered in arrows}
    lines += [f"  {state.value} --> [*]" for state in sorted(final) if state.value in reached]
    return "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```\n"


def document() -> str:
    """Return the whole page."""
    parts = [_HEAD]
    for name, machine in MACHINES.items():
        parts.append(f"\n## {name.capitalize()}\n\n{_ABOUT[name]}\n\n{diagram(machine, _FINAL[name])}")  # type: ignore[arg-type]
        docs = _state_docs(_STATES[name])
        if docs:
            rows = "".join(f"| `{state}` | {text} |\n" for state, text in docs.items())
            parts.append(f"\n| State | Meaning |\n|---|---|\n{rows}")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(write_or_check("lifecycle.md", document()))
