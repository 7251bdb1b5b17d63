"""The files of ``deploy/`` and the page about them, taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from docs.pages import ROOT, blocks

DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deployment.md"
DOCKERFILE = DEPLOY / "Dockerfile"
KUBERNETES = DEPLOY / "kubernetes"
INIT = KUBERNETES / "init" / "job.yaml"
EXAMPLE = KUBERNETES / "secret.example.yaml"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSED = sorted(DEPLOY.glob("compose*.yaml"))
FILES = [DOCKERFILE, INIT, *UNITS, *COMPOSED, *sorted(KUBERNETES.glob("*.yaml"))]
"""Every file that says how Tocsin is run."""


class Said(NamedTuple):
    """A command line of ours.

    Attributes:
        where: the file that has it.
        words: what stands behind ``tocsin``.
    """

    where: str
    words: tuple[str, ...]


class Instruction(NamedTuple):
    """A line of the Dockerfile, its continuations included."""

    word: str
    text: str


def instructions() -> list[Instruction]:
    """Return what the Dockerfile does, in order."""
    lines = (line for line in DOCKERFILE.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def instruction(word: str) -> str:
    """Return the text of the last instruction of a kind, which is the one that counts."""
    return [each.text for each in instructions() if each.word == word][-1]


def image_environment() -> dict[str, str]:
    """Return the variables that the image sets."""
    return dict(word.split("=", 1) for word in shlex.split(instruction("ENV")) if "=" in word)


def composed(path: Path) -> dict[str, Any]:
    """Return a Compose file, its anchors merged."""
    found: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


def our_services(path: Path) -> dict[str, dict[str, Any]]:
    """Return the services of a Compose file that run our image."""
    services = composed(path)["services"]
    return {name: each for name, each in services.items() if each["image"].startswith("tocsin:")}


def resources(path: Path) -> list[dict[str, Any]]:
    """Return the Kubernetes resources of a file."""
    return [each for each in yaml.safe_load_all(path.read_text("utf-8")) if each]


def applied() -> list[dict[str, Any]]:
    """Return the resources that ``kubectl apply -k`` makes."""
    listed = composed(KUBERNETES / "kustomization.yaml")["resources"]
    return [each for name in listed for each in resources(KUBERNETES / name)]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the applied resources of a kind, by name."""
    return {each["metadata"]["name"]: each for each in applied() if each["kind"] == kind}


def pods() -> dict[str, dict[str, Any]]:
    """Return every pod's template, by the name of what makes it."""
    makers = [*of_kind("Deployment").values(), *resources(INIT)]
    return {each["metadata"]["name"]: each["spec"]["template"] for each in makers}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """Return a pod's one container."""
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def directives(unit: Path) -> dict[str, list[str]]:
    """Return what a systemd unit sets, each name with its values in order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def shell_lines() -> Iterator[list[str]]:
    """Yield the words of each command line in the page's ``bash`` blocks."""
    for block in blocks(PAGE):
        if block.info == "bash":
            for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
                yield shlex.split(line, comments=True)


def said_commands() -> list[Said]:
    """Return every command line of ours in the files and on the page."""
    found = [Said("Dockerfile", tuple(yaml.safe_load(instruction("CMD"))))]
    for path in COMPOSED:
        found += [Said(path.name, tuple(each["command"])) for each in our_services(path).values()]
    for unit in UNITS:
        (line,) = directives(unit)["ExecStart"]
        found.append(Said(unit.name, tuple(shlex.split(line.replace("%i", "8081")))[1:]))
    found += [Said(name, tuple(container(pod)["args"])) for name, pod in pods().items()]
    for words in shell_lines():
        behind = _behind_tocsin(words)
        if behind:
            found.append(Said(PAGE.name, tuple(behind)))
    for quoted in re.findall(r"`tocsin ([a-z][^`]*)`", PAGE.read_text("utf-8")):
        found.append(Said(PAGE.name, tuple(shlex.split(quoted))))
    return found


def _behind_tocsin(words: list[str]) -> list[str]:
    """Return what a line of the shell hands to the program, if it starts it."""
    if words[:1] == ["tocsin"]:
        return words[1:]
    if words[:2] == ["docker", "compose"] and "run" in words:
        # The image starts the program by itself: options, the service, then its arguments.
        rest = [word for word in words[words.index("run") + 1 :] if not word.startswith("--")]
        return rest[1:]
    if words[:2] == ["docker", "compose"] and "exec" in words:
        rest = words[words.index("exec") + 2 :]
        return rest[1:] if rest[0] == "tocsin" else []
    started = [index for index, word in enumerate(words) if word.endswith("/bin/tocsin")]
    return words[started[0] + 1 :] if started else []
