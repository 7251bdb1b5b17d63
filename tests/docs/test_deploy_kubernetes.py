"""The Kubernetes manifests: of the form that each version wants, and true to each other and to the program."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from docs import deployed
from docs.deployed import EXAMPLE, INIT, KUBERNETES, PAGE
from docs.pages import ROOT, blocks
from tocsin import __version__
from tocsin.bootstrap import load_settings
from tocsin.settings import SettingsFault

OLDEST, NEWEST = "1.25", "1.37"
"""Versions of Kubernetes that the manifests are held to."""

ALL = [*deployed.applied(), *deployed.resources(INIT), *deployed.resources(EXAMPLE)]
KINDS = ("gateway", "dispatcher")

every_pod = pytest.mark.parametrize("pod", deployed.pods().values(), ids=deployed.pods())


def labels(pod: dict[str, Any]) -> set[tuple[str, str]]:
    return set(pod["metadata"]["labels"].items())


def selected(selector: dict[str, str]) -> list[str]:
    """Return the names of the deployments whose pods have these labels."""
    return [
        name
        for name, deployment in deployed.of_kind("Deployment").items()
        if set(selector.items()) <= labels(deployment["spec"]["template"])
    ]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("resource", ALL, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_a_resource_has_the_form_that_kubernetes_wants(resource: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)
    wrong = copy.deepcopy(resource)
    wrong["metadata"]["nmae"] = "tocsin"
    with pytest.raises(kubernetes_validate.ValidationError, match="nmae"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_whatever_lies_there_is_applied_but_for_the_example() -> None:
    listed = set(deployed.composed(KUBERNETES / "kustomization.yaml")["resources"])
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert there - listed == {EXAMPLE.name, "kustomization.yaml"}
    assert {each["kind"] for each in deployed.applied()} >= {"Deployment", "Service", "ConfigMap", "NetworkPolicy"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not here, which puts the manifests together")
def test_kubectl_puts_the_manifests_together() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=True, timeout=60
    )
    made = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert len(made) == len(deployed.applied())
    for each in made:
        assert each["metadata"]["namespace"] == "tocsin"
        kubernetes_validate.validate(each, NEWEST, strict=True)
        if each["kind"] == "Deployment":
            assert deployed.container(each["spec"]["template"])["image"] == f"tocsin:{__version__}"


def test_services_budgets_and_policies_mean_the_pods_of_one_deployment() -> None:
    for name, deployment in deployed.of_kind("Deployment").items():
        assert selected(deployment["spec"]["selector"]["matchLabels"]) == [name]
    assert selected(deployed.of_kind("Service")["tocsin"]["spec"]["selector"]) == ["tocsin-gateway"]
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        meant = []
        for name, each in deployed.of_kind(kind).items():
            spec = each["spec"]
            found = selected((spec.get("selector") or spec["podSelector"])["matchLabels"])
            assert found == [name]
            meant += found
        assert sorted(meant) == sorted(f"tocsin-{each}" for each in KINDS)


def test_ports_are_called_what_the_pods_call_them() -> None:
    ports = {
        name: {each["name"] for each in deployed.container(pod).get("ports", [])}
        for name, pod in deployed.pods().items()
    }
    assert {each["targetPort"] for each in deployed.of_kind("Service")["tocsin"]["spec"]["ports"]} == {"http"}
    assert "http" in ports["tocsin-gateway"]
    for name, policy in deployed.of_kind("NetworkPolicy").items():
        opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert opened == ports[name]
        assert all(rule["from"] for rule in policy["spec"]["ingress"]), "open to everybody"


@every_pod
def test_a_pod_is_shut_in(pod: dict[str, Any]) -> None:
    spec, box = pod["spec"], deployed.container(pod)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert box["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(box["resources"]["requests"])
    assert "memory" in box["resources"]["limits"]
    volumes = {each["name"] for each in spec["volumes"]}
    assert {each["name"] for each in box["volumeMounts"]} <= volumes


@every_pod
def test_a_pod_gets_all_settings_and_no_others(pod: dict[str, Any]) -> None:
    # The links to a service that is called tocsin would be variables of ours.
    assert pod["spec"]["enableServiceLinks"] is False
    sources = deployed.container(pod)["envFrom"]
    assert {"configMapRef": {"name": "tocsin"}} in sources
    (secret,) = deployed.resources(EXAMPLE)
    assert {"secretRef": {"name": secret["metadata"]["name"]}} in sources
    assert "env" not in deployed.container(pod)


def test_what_a_link_to_a_service_sets_would_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsFault, match="TOCSIN_PORT"):
        load_settings(port="tcp://10.0.0.7:80")
    monkeypatch.setenv("TOCSIN_SERVICE_HOST", "10.0.0.7")
    with pytest.raises(SettingsFault, match="TOCSIN_SERVICE_HOST"):
        load_settings()


def test_a_gateway_whose_database_is_away_is_left_alive() -> None:
    box = deployed.container(deployed.pods()["tocsin-gateway"])
    paths = {name: probe["httpGet"]["path"] for name, probe in box.items() if name.endswith("Probe")}
    assert paths == {"startupProbe": "/health", "readinessProbe": "/ready", "livenessProbe": "/health"}


def test_the_page_makes_what_the_first_job_reads_before_the_job() -> None:
    commands = next(each.text for each in blocks(PAGE) if "init/job.yaml" in each.text)
    before = commands[: commands.index("kubectl apply -f deploy/kubernetes/init/job.yaml")]
    (job,) = deployed.resources(INIT)
    wanted = {kind for source in deployed.container(job["spec"]["template"])["envFrom"] for kind in source}
    assert wanted == {"configMapRef", "secretRef"}
    assert "kubectl create secret generic tocsin --namespace=tocsin" in before
    assert "kubectl apply --namespace=tocsin -f deploy/kubernetes/configmap.yaml" in before


def test_the_example_is_the_secret_that_the_page_makes() -> None:
    page = PAGE.read_text("utf-8")
    (secret,) = deployed.resources(EXAMPLE)
    for name in secret["stringData"]:
        assert f"--from-literal={name}=" in page
    for path in ("deploy/kubernetes/init/job.yaml", "deploy/kubernetes/network.yaml"):
        assert Path(ROOT / path).exists()
        assert path in page
