"""What may be asked of Prometheus: the names of the contract, of the rules, and of the programs beside the bot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

OBSERVABILITY = Path(__file__).parents[2] / "observability"
RULES = OBSERVABILITY / "prometheus" / "rules"

_ROW = re.compile(
    r"^\| `(?P<name>[^`]+)` \| `(?P<prometheus>[^`]+)` \| (?P<kind>\w+) \| `(?P<unit>[^`]+)` \| (?P<attributes>[^|]*)\|",
    re.M,
)
_SERIES = {"histogram": ("_bucket", "_sum", "_count")}

# Of the Redis exporter, the Collector (0.155) and Prometheus itself; seen on their pages.
OTHERS = {
    "ALERTS",
    "up",
    "redis_up",
    "redis_aof_enabled",
    "redis_aof_last_write_status",
    "redis_rdb_last_bgsave_status",
    "redis_memory_used_bytes",
    "redis_memory_max_bytes",
    "redis_commands_processed_total",
    "redis_connected_clients",
    "otelcol_receiver_accepted_spans_total",
    "otelcol_receiver_refused_spans_total",
    "otelcol_exporter_sent_spans_total",
    "otelcol_exporter_send_failed_spans_total",
    "otelcol_exporter_enqueue_failed_spans_total",
    "traces_span_metrics_calls_total",
    "traces_span_metrics_duration_seconds_bucket",
}


def rules() -> list[dict[str, Any]]:
    files = sorted(RULES.glob("*.yml"))
    return [
        rule for f in files for group in yaml.safe_load(f.read_text())["groups"] for rule in group["rules"]
    ]


def promised() -> list[dict[str, str]]:
    """The metrics of observability/README.md: each `name`, its name in `prometheus`, `kind`, `unit` and `attributes`."""
    return [row.groupdict() for row in _ROW.finditer((OBSERVABILITY / "README.md").read_text())]


def known_names() -> set[str]:
    contract = {
        row["prometheus"] + suffix for row in promised() for suffix in _SERIES.get(row["kind"], ("",))
    }
    return contract | {rule["record"] for rule in rules() if "record" in rule} | OTHERS


def names_in(expression: str) -> set[str]:
    """The metric names in a PromQL expression."""
    # What is left without strings, label lists, ranges, `by (…)` and the like, and calls, are names.
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return {word for word in words if word not in {"and", "or", "unless", "bool", "offset"}}
