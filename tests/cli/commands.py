"""The commands of a client, in processes of their own, against a real gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import Gateway
from program import DEADLINE_S, Done, environment
from tenants import PASSWORD, Tenant, tenant_of


@dataclass(frozen=True, slots=True)
class Shell:
    """Where commands are typed: a home of its own, a gateway and a key in the environment.

    Attributes:
        home: holds the settings and what is remembered between runs.
        tenant: the organisation whose key it is.
    """

    home: Path
    tenant: Tenant
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        own = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TOCSIN_URL": self.tenant.process.base_url,
            "TOCSIN_KEY": self.tenant.key,
            "TOCSIN_CHANNEL_PASSWORD": PASSWORD,
            "COLUMNS": "200",
        }
        return environment(own | self.variables)

    def run(self, *arguments: str, stdin: str | bytes = b"", outside: bool = False, **variables: str | None) -> Done:
        """Run ``tocsin`` to its end.

        Args:
            variables: of the environment, above those of the shell; None takes one away.
            outside: without the gateway and the key that the shell has.
        """
        if outside:
            variables = {"TOCSIN_URL": None, "TOCSIN_KEY": None, **variables}
        merged = {name: value for name, value in (self.environment | variables).items() if value is not None}
        done = subprocess.run(
            [sys.executable, "-m", "tocsin", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            check=False,
            timeout=DEADLINE_S,
            env=merged,
            cwd=self.home,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: str | bytes = b"", outside: bool = False, **variables: str | None) -> Any:
        """Run a command that succeeds, without a word on stderr; return the one JSON document that it prints."""
        done = self.run(*arguments, stdin=stdin, outside=outside, **variables)
        assert (done.status, done.err) == (0, ""), done
        return done.json

    def rows(
        self, *arguments: str, stdin: str | bytes = b"", outside: bool = False, **variables: str | None
    ) -> list[Any]:
        """Run a command that succeeds; return the rows that it prints, a JSON document a line."""
        done = self.run(*arguments, stdin=stdin, outside=outside, **variables)
        assert done.status == 0, done
        return [json.loads(line) for line in done.out.splitlines()]

    def refused(
        self,
        status: int,
        *arguments: str,
        says: str,
        stdin: str | bytes = b"",
        outside: bool = False,
        **variables: str | None,
    ) -> str:
        """Run a command that fails with this status and one line that says this; return the line."""
        done = self.run(*arguments, stdin=stdin, outside=outside, **variables)
        assert done.status == status, done
        assert "Traceback" not in done.err
        line = done.err.splitlines()[-1]
        assert line.startswith("tocsin: ")
        assert says in line
        return line

    def file(self, name: str, content: str | bytes) -> str:
        """Write a file; return its path."""
        path = self.home / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


def shell_for(gateway: Gateway, home: Path) -> Shell:
    """Return a shell with an organisation of its own."""
    home.mkdir(parents=True, exist_ok=True)
    return Shell(home, tenant_of(gateway))


def event_data(tenant: Tenant, event_id: str) -> Any:
    """Return an event's payload as the gateway has it."""
    return tenant.get(f"/api/v1/events/{event_id}")["payload"]
