"""A real PgBouncer for tests, with the configuration that the deployment page shows."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.postgres_server import PostgresServer, free_port

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
PASSWORD = "through the pooler"
_START_MAX_S = 60.0


def pgbouncer_program() -> str:
    """Return where PgBouncer is; skip where it is not."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("needs PgBouncer: apt-get install pgbouncer")
    return found


def shown_configuration() -> str:
    """Return the configuration that the deployment page shows."""
    blocks = re.findall(r"^```ini\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = (each for each in blocks if "[pgbouncer]" in each)
    return str(found)


def _shown_query() -> str:
    """Return the query by which the page has the list of users made."""
    (found,) = re.findall(
        r'^sudo -u postgres psql .* -c "(select .* from pg_authid .*)"$', PAGE.read_text("utf-8"), re.MULTILINE
    )
    return str(found).replace('\\"', '"')


class Pooler:
    """A PgBouncer in front of a server's databases, for one user, for whose password it asks.

    Attributes:
        port: where it listens.
    """

    def __init__(self, server: PostgresServer, directory: Path, user: str) -> None:
        self._directory = directory
        self._user = user
        self.port = free_port()
        self._server = server

    def configure(self, **changed: str) -> None:
        """Write what the page shows, with the ports and files of this test and what is changed here."""
        self._server.execute(f"alter role {self._user} password '{PASSWORD}'")
        ((line,),) = self._server.execute(_shown_query().replace("'tocsin'", f"'{self._user}'"))[0]
        users = self._directory / "userlist.txt"
        users.write_text(f"{line}\n")
        text = _replaced(
            shown_configuration(), r"\* = host=\S+ port=\d+", f"* = host=127.0.0.1 port={self._server.port}"
        )
        for name, value in {"listen_port": str(self.port), "auth_file": str(users), **changed}.items():
            text = _replaced(text, rf"^{name} = .*$", f"{name} = {value}")
        (self._directory / "pgbouncer.ini").write_text(text)

    def run(self) -> subprocess.Popen[bytes]:
        """Start it, and wait until it answers."""
        # It refuses to run as root.
        other: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
        with (self._directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [pgbouncer_program(), str(self._directory / "pgbouncer.ini")],
                cwd=self._directory,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **other,
            )
        asyncio.run(self._answers(process))
        return process

    async def _answers(self, process: subprocess.Popen[bytes]) -> None:
        async with asyncio.timeout(_START_MAX_S):
            while True:
                assert process.poll() is None, (self._directory / "log").read_text()
                try:
                    connection = await asyncpg.connect(self.dsn("postgres"), statement_cache_size=0)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
                    continue
                await connection.close()
                return

    def dsn(self, database: str) -> str:
        """Return the URL of a database through it."""
        return f"postgresql://{self._who}@127.0.0.1:{self.port}/{database}"

    def past(self, database: str) -> str:
        """Return the URL of a database past it, for the same user."""
        return f"postgresql://{self._who}@127.0.0.1:{self._server.port}/{database}"

    @property
    def _who(self) -> str:
        return f"{self._user}:{PASSWORD.replace(' ', '%20')}"

    def around(self, dsn: str) -> str:
        """Return the URL through it of the database that a URL names."""
        return self.dsn(dsn.rpartition("/")[2])


def _replaced(text: str, pattern: str, by: str) -> str:
    """Return a text with the one place replaced that the pattern finds."""
    made, count = re.subn(pattern, lambda _: by, text, flags=re.MULTILINE)
    assert count == 1, pattern
    return made


@contextmanager
def running_pooler(server: PostgresServer, *, user: str = "tocsin", **changed: str) -> Iterator[Pooler]:
    """Run a PgBouncer in front of a server, with changes to what the page shows; skip where there is none."""
    pgbouncer_program()
    with tempfile.TemporaryDirectory(prefix="tocsin-pgb-") as directory:
        Path(directory).chmod(0o755)
        pooler = Pooler(server, Path(directory), user)
        pooler.configure(**changed)
        process = pooler.run()
        try:
            yield pooler
        finally:
            # It keeps nothing, and versions differ in which signal ends it at once.
            process.kill()
            process.wait()
