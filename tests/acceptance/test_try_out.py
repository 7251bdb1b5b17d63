"""What a newcomer does: start with --try, paste each curl line, see the signed event arrive."""

from __future__ import annotations

import queue
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from program import environment
from stores import Store

pytestmark = pytest.mark.acceptance

LINE_S = 30.0
DIALECTS = ["PushGo", "PingPilot", "Buildable", "Native Frame", "PromptJang"]


class _Lines:
    """A process's output, line by line, with a deadline for each."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def next(self) -> str:
        line = self._lines.get(timeout=LINE_S)
        assert line is not None, "the program ended"
        return line

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl") and shutil.which("bash")),
    reason="needs curl, openssl and bash",
)
@pytest.mark.parametrize("runs", [1, 2], ids=["first run", "second run"])
def test_each_printed_curl_line_reaches_the_receiver_signed(store: Store, tmp_path: Path, runs: int) -> None:
    settings = store.settings()
    for _ in range(runs):
        _try_out(tmp_path / "data", settings)


def _try_out(data: Path, settings: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "serve", "--try", "--port", "0", "--data", str(data)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(settings),
    )
    try:
        assert process.stdout is not None
        lines = _Lines(process.stdout)
        curls: dict[str, str] = {}
        chats: list[str] = []
        while True:
            line = lines.next()
            if line.startswith("# "):
                curls[line.removeprefix("# ")] = lines.next()
            elif line == "Ready.":
                break
        assert list(curls) == DIALECTS
        for title, curl in curls.items():
            done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, check=True, timeout=LINE_S)
            assert "error" not in done.stdout.replace('"error":null', "").replace('"error_code":null', ""), (
                done.stdout
            )
            arrived = lines.next()
            while arrived.startswith("--> POST /try-out-chat"):
                # PingPilot's event also goes where the account says, before or after the webhook.
                chats.append(arrived)
                arrived = lines.next()
            assert arrived.startswith("--> POST /"), title
            assert "signature right" in arrived, title
        while not chats:
            chats.append(lines.next())
        assert "not signed" in chats[0]
        assert "Checkout fails" in chats[0]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LINE_S) == 0
        assert process.stdout is not None
        process.stdout.close()
