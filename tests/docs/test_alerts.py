"""The example alerts: well-formed, about metrics that there are, each explained, each with something to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from docs.pages import ROOT
from docs.test_names import series
from tocsin.telemetry import Metrics
from tocsin.telemetry.instruments import Instrument

FILE = ROOT / "deploy" / "prometheus" / "rules.yml"
WORDS = {
    "by",
    "or",
    "and",
    "sum",
    "rate",
    "increase",
    "delta",
    "changes",
    "predict_linear",
    "histogram_quantile",
    "up",
}
"""What may stand in an expression beside names and labels."""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(FILE.read_text("utf-8"))["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


every_rule = pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))


def labels_of(metric: str) -> set[str]:
    for each in Metrics().registry._collector_to_names:
        if isinstance(each, Instrument) and metric.removesuffix("_total").removesuffix("_bucket") == each.name:
            return set(each.labels)
    return set()


@every_rule
def test_a_rule_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    bare = re.sub(r'"[^"]*"', "", expression)
    assert all(bare.count(one) == bare.count(other) for one, other in ("()", "{}", "[]"))
    metrics = {name for name in re.findall(r"[a-z_]+", bare) if name.startswith(("tocsin_", "up"))}
    assert metrics, "it asks for nothing"
    labels = {"instance", "le", "job"}
    for metric in metrics - {"up"}:
        assert metric in series() or metric.startswith("tocsin_sender_process_"), f"{metric} is no metric"
        labels |= labels_of(metric)
    rest = set(re.findall(r"[a-z_]{2,}", re.sub(r"\[[^]]*\]", "", bare))) - metrics
    assert rest <= WORDS | labels, rest - WORDS - labels


@every_rule
def test_a_rule_says_how_urgent_it_is_and_what_is_the_matter(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    known = {"instance"} | {label for name in re.findall(r"tocsin_\w+", rule["expr"]) for label in labels_of(name)}
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= known


def test_each_alert_is_explained_and_has_something_to_do() -> None:
    names = {rule["alert"] for rule in rules()}
    for page in ("telemetry.md", "operations.md"):
        told = set(re.findall(r"`(Tocsin[A-Z]\w+)`", (ROOT / "docs" / page).read_text("utf-8")))
        assert told == names, page


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_promtool_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(FILE)], check=True, timeout=30)
