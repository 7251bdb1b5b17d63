"""Up to where the order of commits is settled: what followers may be told, and what a search could see."""

from __future__ import annotations

from tocsin.core.errors import Unavailable
from tocsin.engine.postgres.sql import Connection, fetch


async def settled_bound(connection: Connection, *, closer: bool = False) -> int:
    """Return the position below which everything can be seen from now on, and where nothing more will come.

    Args:
        closer: look at what the open transactions are, which may lead further.

    Raises:
        Unavailable: a node of the cluster did not say what it has prepared.
    """
    if not connection.parts.is_cluster:
        ((bound,),) = await fetch(connection, "tail_bound_of_ours" if closer else "tail_bound")
        return int(bound)
    ((bound, answered),) = await fetch(connection, "tail_bound_of_cluster")
    if not answered:
        raise Unavailable("a node of the cluster does not answer", retry_after_s=1)
    return int(bound)
