"""The Prometheus configuration and its rules: sound, fed by metrics that exist, each alert tested."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from contract import OBSERVABILITY, RULES, known_names, names_in, rules

TESTS = Path(__file__).parent / "alerts.test.yml"
ALERTS = [rule for rule in rules() if "alert" in rule]


def test_promtool_finds_no_fault(check) -> None:
    check("promtool", "check", "rules", "--lint=all", "--lint-fatal", *sorted(RULES.glob("*.yml")))
    check("promtool", "check", "config", OBSERVABILITY / "prometheus" / "prometheus.yml")


def test_alerts_fire_when_they_should(check) -> None:
    check("promtool", "test", "rules", TESTS)


def test_a_moved_threshold_is_noticed(check, tmp_path: Path) -> None:
    for path in RULES.glob("*.yml"):
        (tmp_path / path.name).write_text(
            path.read_text().replace("imagebot:jobs_waiting > 10", "imagebot:jobs_waiting > 12")
        )
    moved = TESTS.read_text().replace(
        f"../../{RULES.relative_to(Path(__file__).parents[2])}/", f"{tmp_path}/"
    )
    shutil.copy(TESTS, tmp_path)
    (tmp_path / TESTS.name).write_text(moved)
    with pytest.raises(AssertionError, match="JobsWaitingProblem"):
        check("promtool", "test", "rules", tmp_path / TESTS.name)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_complete(rule: dict) -> None:
    cases = [
        c for test in yaml.safe_load(TESTS.read_text())["tests"] for c in test.get("alert_rule_test", [])
    ]
    mine = [case["exp_alerts"] for case in cases if case["alertname"] == rule["alert"]]
    assert any(mine), "no test in which it fires"
    assert rule["labels"]["severity"] in {"warning", "critical"}
    # A sentence for what is the case, and one for what to do.
    assert (
        len([s for s in rule["annotations"]["summary"].split(". ") if s]) >= 2
        or ": " in rule["annotations"]["summary"]
    )


def test_rules_ask_for_metrics_that_exist() -> None:
    known = known_names()
    asked = {rule.get("alert") or rule["record"]: names_in(rule["expr"]) - known for rule in rules()}
    assert not {name: unknown for name, unknown in asked.items() if unknown}
