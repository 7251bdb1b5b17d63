"""Backup and restore as the page has them: taken while the gateway runs, and started from."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, block
from gateway import Process, Receiver
from program import environment
from tenants import Tenant

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash"),
]

PAGE = ROOT / "docs" / "operations.md"


def steps(info: str) -> list[str]:
    """Return the lines of one of the page's blocks."""
    return block(PAGE, info).splitlines()


def run(lines: list[str], **directories: Path) -> None:
    """Run lines of the page, with the program that is tested as ``tocsin``."""
    variables = {name.upper(): str(path) for name, path in directories.items()}
    script = "\n".join(["set -euo pipefail", f'tocsin() {{ "{sys.executable}" -m tocsin "$@"; }}', *lines])
    subprocess.run(["bash", "-c", script], env=environment(variables), check=True, timeout=30)


def test_a_backup_of_a_running_gateway_can_be_started_from(tmp_path: Path) -> None:
    data, backup, restored = (tmp_path / name for name in ("data", "backup", "restored"))
    receiver = Receiver()
    process = Process(data)
    process.start()
    try:
        key = process.keys["api_key"]
        tenant = Tenant(process, key)
        tenant.webhook(f"{receiver.url}/before")
        tenant.post("/emit", {"event": "before", "payload": {}})
        receiver.wait_for(1)
        run(steps("bash backup"), data=data, backup=backup)
        tenant.post("/emit", {"event": "after", "payload": {}})
        receiver.wait_for(2)
    finally:
        assert process.stop() == 0
    copying, serving = steps("bash restore")
    run([copying], backup=backup, restored=restored)
    assert serving == 'tocsin serve --data "$RESTORED"'
    again = Process(restored)
    again.start()
    try:
        tenant = Tenant(again, key)
        assert [each["event_type"] for each in tenant.get("/api/v1/events")["events"]] == ["before"]
        # The sealed secret opens, or nothing could be signed and sent.
        tenant.post("/emit", {"event": "restored", "payload": {}})
        arrived = receiver.wait_for(3)[-1]
        assert arrived.headers["webhook-signature"].startswith("v1,")
    finally:
        assert again.stop() == 0
        receiver.close()
