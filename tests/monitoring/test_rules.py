"""The Prometheus configuration and its rules: sound, fed by metrics that exist, each alert tested."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import yaml
from contract import OBSERVABILITY, RULES, known_names, names_in, rules

from src.ops.thresholds import (
    BACKUP,
    CPU,
    DISK,
    LOAD,
    MEMORY,
    OLDEST,
    REDIS_FULL,
    REDIS_MEMORY,
    TELEGRAM,
    TIME,
    WAITING,
)

TESTS = Path(__file__).parent / "alerts.test.yml"
ALERTS = [rule for rule in rules() if "alert" in rule]


@functools.cache
def tried() -> list[dict]:
    """The cases of the alerts."""
    return [c for test in yaml.safe_load(TESTS.read_text())["tests"] for c in test.get("alert_rule_test", [])]


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
    cases = yaml.safe_load(TESTS.read_text())
    cases["rule_files"] = [Path(name).name for name in cases["rule_files"]]
    cases["tests"] = [test for test in cases["tests"] if "JobsWaitingProblem" in str(test)]
    (tmp_path / TESTS.name).write_text(yaml.safe_dump(cases))
    with pytest.raises(AssertionError, match="JobsWaitingProblem"):
        check("promtool", "test", "rules", tmp_path / TESTS.name)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_is_complete(rule: dict) -> None:
    mine = [case["exp_alerts"] for case in tried() if case["alertname"] == rule["alert"]]
    assert any(mine), "no test in which it fires"
    assert rule["labels"]["severity"] in {"warning", "critical"}
    # A sentence for what is the case, and one for what to do.
    assert (
        len([s for s in rule["annotations"]["summary"].split(". ") if s]) >= 2
        or ": " in rule["annotations"]["summary"]
    )


@pytest.mark.parametrize(
    ("alert", "over"),
    [
        ("JobsWaitingAttention", f"> {WAITING.attention:g} and imagebot:jobs_waiting <= {WAITING.problem:g}"),
        ("JobsWaitingProblem", f"> {WAITING.problem:g}"),
        (
            "JobTimeAttention",
            f"> {TIME.attention:g} and imagebot:job_duration_seconds:mean10m <= {TIME.problem:g}",
        ),
        ("JobTimeProblem", f"> {TIME.problem:g}"),
        ("LineNotMoving", f"> {OLDEST.problem:g}"),
        ("CpuHigh", f"> {CPU.attention:g}"),
        ("MemoryHigh", f"> {MEMORY.attention:g}"),
        ("RedisMemoryHigh", f"> {REDIS_MEMORY.attention:g} <= {REDIS_MEMORY.problem:g}"),
        ("RedisMemoryFull", f"> {REDIS_MEMORY.problem:g}"),
        ("BotDeaf", f"> {TELEGRAM.problem:g}"),
        ("MachineBusy", f"> {LOAD.attention:g}"),
        ("DiskFilling", f"> {DISK.attention:g} and imagebot:machine_disk:ratio <= {DISK.problem:g}"),
        ("DiskFull", f"> {DISK.problem:g}"),
        ("BackupLate", f"> {BACKUP.attention:g} and imagebot:backup_age:ratio <= {BACKUP.problem:g}"),
        ("BackupMissing", f"> {BACKUP.problem:g}"),
        (
            "RedisFilling",
            f"< {-REDIS_FULL.attention:g} and imagebot:redis_full_in_days >= {-REDIS_FULL.problem:g}",
        ),
        ("RedisAlmostFull", f"< {-REDIS_FULL.problem:g}"),
    ],
)
def test_alerts_go_by_the_same_numbers_as_the_status_page(alert: str, over: str) -> None:
    (rule,) = (rule for rule in ALERTS if rule["alert"] == alert)
    assert rule["expr"].endswith(over)
    # What the operator reads says the same number as what Prometheus compares.
    number = float(over.split()[1])
    said = f"{100 * number:g} %" if number < 1 else f"{number:g}"
    assert said in rule["annotations"]["summary"] or alert in ("RedisMemoryHigh", "LineNotMoving", "BotDeaf")


def test_rules_ask_for_metrics_that_exist() -> None:
    known = known_names()
    asked = {rule.get("alert") or rule["record"]: names_in(rule["expr"]) - known for rule in rules()}
    assert not {name: unknown for name, unknown in asked.items() if unknown}
