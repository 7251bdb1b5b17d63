"""What ``tocsin run`` remembers between runs: which incident is open, and which request waits for its answer."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tocsin.cli.client.api import Api
from tocsin.cli.client.refusals import error_code
from tocsin.cli.exits import FAILED, NOT_FOUND, REFUSED
from tocsin.cli.faults import Failure

_GONE = frozenset({"event_not_found", "event_closed"})
"""Codes of an incident that somebody else has ended."""


class IncidentRecord:
    """A command's incident, kept in a file.

    A request is written down before it is sent, and struck out when it is answered, so that one whose answer was lost
    is repeated by the next run with the same ``op_id``, which the gateway knows again.

    Attributes:
        event_id: the open incident, or None.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.event_id: str | None = None
        self._waiting: dict[str, Any] | None = None
        with contextlib.suppress(FileNotFoundError, ValueError, AttributeError):
            kept = json.loads(path.read_text("utf-8"))
            self.event_id = kept.get("event_id")
            self._waiting = kept.get("waiting")

    def post(self, api: Api, password: str, action: str, body: dict[str, Any]) -> None:
        """Send a request about the incident, after the one that still waits.

        An update or a close of an incident that somebody else has ended does nothing: ``event_id`` is None then.

        Args:
            action: ``create``, ``update`` or ``close``.
            body: without password, ``op_id`` and ``event_id``.

        Raises:
            Failure: the gateway does not answer, or refuses.
        """
        self.catch_up(api, password)
        self._waiting = {"action": action, "body": {**body, "op_id": uuid.uuid4().hex}}
        if action != "create":
            self._waiting["body"]["event_id"] = self.event_id
        self._save()
        self._send_waiting(api, password)

    def catch_up(self, api: Api, password: str) -> None:
        """Send the request that waits, if there is one; one that is refused now waits no more.

        Raises:
            Failure: it waits on: the gateway does not answer, or does not take the key or the password.
        """
        try:
            self._send_waiting(api, password)
        except Failure:
            if self._waiting is not None:
                raise

    def _send_waiting(self, api: Api, password: str) -> None:
        if self._waiting is None:
            return
        action, body = self._waiting["action"], self._waiting["body"]
        answer = api.send("POST", f"/event/{action}", {**body, "password": password})
        if answer.status >= 400 and action != "create" and error_code(answer.body) in _GONE:
            self._settle(None)
            return
        try:
            told = api.checked(answer).json["data"]
        except Failure as failure:
            if failure.status in (REFUSED, NOT_FOUND):
                # It would be refused again, and stand in the way of all that come after it.
                self._settle(self.event_id)
            raise
        self._settle(None if action == "close" else told["event_id"])

    def _settle(self, event_id: str | None) -> None:
        self.event_id, self._waiting = event_id, None
        self._save()

    def _save(self) -> None:
        if self.event_id is None and self._waiting is None:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        text = json.dumps({"event_id": self.event_id, "waiting": self._waiting})
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


@contextmanager
def incident_record(*identity: str) -> Iterator[IncidentRecord]:
    """Open a command's record; another run of the same command waits meanwhile.

    Args:
        identity: what makes it this command.

    Raises:
        Failure: the file cannot be had.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    home = Path(given) if given and Path(given).is_absolute() else Path.home() / ".local" / "state"
    name = hashlib.sha256("\0".join(identity).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    path = home / "tocsin" / "run" / f"{name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield IncidentRecord(path)
    except OSError as error:
        raise Failure(FAILED, f"{path} cannot be used: {error.strerror or error}") from error
