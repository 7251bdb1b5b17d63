"""A primary server and its standby for tests, by the server's own streaming replication."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from engine.postgres_server import PostgresServer, unmade_server

_STANDBY = "copy"
_WAIT_MAX_S = 60.0
_USER = "tocsin"


class Pair:
    """A primary and the standby that follows it.

    Attributes:
        database: its name, on both.
    """

    def __init__(self, primary: PostgresServer, standby: PostgresServer) -> None:
        self.primary = primary
        self.standby = standby
        self.database = "shared"

    @property
    def dsn(self) -> str:
        """The URL that names both, as the deployment page has it, the primary first."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (self.primary, self.standby))
        return f"postgresql://{_USER}@{hosts}/{self.database}?target_session_attrs=read-write"

    def wait_for_the_standby(self, *, is_synchronous: bool) -> None:
        """Let the primary's commits wait for the standby, or not; return once that holds and all is on both."""
        names = _STANDBY if is_synchronous else ""
        self.primary.execute(f"alter system set synchronous_standby_names = '{names}'")
        self.primary.stop()
        self.primary.start()
        self.wait_until_it_streams("sync" if is_synchronous else "async")

    def wait_until_it_streams(self, state: str = "sync") -> None:
        """Return once the standby has got, and shows, all that the primary has."""
        streams = (
            f"select from pg_stat_replication where application_name = '{_STANDBY}' and sync_state = '{state}' "
            "and state = 'streaming' and replay_lsn = pg_current_wal_flush_lsn()"
        )
        until(lambda: bool(self.primary.execute(streams)[0]))

    def promote(self) -> None:
        """Make the standby take writes; return once it does."""
        assert self.standby.execute("select pg_promote()") == [[(True,)]]


@contextmanager
def running_pair(*, is_synchronous: bool) -> Iterator[Pair]:
    """Run a primary and a standby, for which its commits wait or do not wait."""
    # Nobody switches the machine off here: what one server alone loses by that is shown elsewhere.
    with (
        unmade_server(fsync="off") as primary,
        unmade_server(fsync="off", wal_retrieve_retry_interval="100ms") as copy,
    ):
        primary.make()
        primary.start()
        pair = Pair(primary, copy)
        primary.execute(f"create database {pair.database}")
        copy.make_standby_of(primary, _STANDBY)
        copy.start()
        pair.wait_for_the_standby(is_synchronous=is_synchronous)
        yield pair


def until(holds: Callable[[], bool], within_s: float = _WAIT_MAX_S) -> None:
    """Return once it holds, which is asked again and again."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold"
