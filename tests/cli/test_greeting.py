"""What a first run prints can be typed as it stands."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from program import environment

SCRIPT = Path(sys.executable).with_name("tocsin")


def told(tmp_path: Path, path: str) -> str:
    """Return the command that a first run tells, started as the script of this environment."""
    serving = subprocess.Popen(
        [SCRIPT, "serve", "--port", "0", "--data", tmp_path / "data"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=environment() | {"PATH": path},
        cwd=tmp_path,
    )
    assert serving.stdout is not None
    with serving:
        lines = []
        for line in serving.stdout:
            lines.append(line)
            if line == "Ready.\n":
                break
        serving.terminate()
    (line,) = [line for line in lines if "init --new-key" in line]
    return line.partition(": ")[2]


@pytest.mark.parametrize("is_found", [False, True])
def test_the_command_for_further_keys_names_the_program_as_a_shell_finds_it(tmp_path: Path, is_found: bool) -> None:
    words = shlex.split(told(tmp_path, str(SCRIPT.parent) if is_found else "/nowhere"))
    assert words[0] == ("tocsin" if is_found else str(SCRIPT))
    made = subprocess.run(
        [SCRIPT, *words[1:]], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment(), timeout=60
    )
    assert made.returncode == 0, made.stderr
