"""The Grafana dashboard: loadable, fed by metrics that exist, coloured by the operator's guide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract import OBSERVABILITY, known_names, names_in
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

GRAFANA = OBSERVABILITY / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "imagebot.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SOURCES = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/imagebot.yml").read_text())[
        "datasources"
    ]
}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in PANELS:
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def panel(title: str, kind: str) -> dict[str, Any]:
    (found,) = (p for p in PANELS if (p["title"], p["type"]) == (title, kind))
    return found


def test_panels_ask_for_metrics_that_exist() -> None:
    known = known_names()
    unknown = {(title, name) for title, expr in expressions() for name in names_in(expr) - known}
    assert not unknown


def test_prometheus_understands_every_expression(check, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{i}", "expr": expr.replace("$__rate_interval", "1m")}
        for i, (_, expr) in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    check("promtool", "check", "rules", path)


def test_grafanas_own_model_knows_every_field() -> None:
    """What it does not know is left out when it reads and writes the dashboard: a name misspelt, or of no such panel."""
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(DASHBOARD)))
    for annotation in DASHBOARD["annotations"]["list"]:
        # Prometheus's own, which that model has no place for.
        assert annotation.keys() >= {"step", "titleFormat"}
    known = [
        {name: value for name, value in annotation.items() if name not in ("step", "titleFormat")}
        for annotation in DASHBOARD["annotations"]["list"]
    ]
    ours = {**DASHBOARD, "annotations": {"list": known}}
    assert within(ours, read) == []


def within(ours: Any, read: Any, place: str = "") -> list[str]:
    """Where something of ours is missing, or another, in what was read."""
    if isinstance(ours, dict) and isinstance(read, dict):
        missing = [f"{place}.{name}" for name in ours.keys() - read.keys()]
        return missing + [
            w for n in ours.keys() & read.keys() for w in within(ours[n], read[n], f"{place}.{n}")
        ]
    if isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        return [
            w
            for i, (one, other) in enumerate(zip(ours, read, strict=True))
            for w in within(one, other, f"{place}[{i}]")
        ]
    return [] if ours == read else [place]


def test_panels_have_their_place_and_say_what_they_are() -> None:
    assert len({p["id"] for p in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations((p["gridPos"] for p in DASHBOARD["panels"]), 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), (one, other)
    for p in PANELS:
        assert p["gridPos"]["x"] + p["gridPos"]["w"] <= 24
        assert p["description"].endswith(".")


def test_every_data_source_is_provisioned() -> None:
    used = {(t["datasource"]["uid"], t["datasource"]["type"]) for p in PANELS for t in p["targets"]}
    assert used == {(uid, source["type"]) for uid, source in SOURCES.items()}
    (link,) = SOURCES["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert link["datasourceUid"] in SOURCES
    assert panel("Whole time", "timeseries")["targets"][0]["exemplar"]


@pytest.mark.parametrize(
    ("title", "kind", "steps"),
    [
        ("Jobs waiting", "stat", [("green", None), ("orange", 6), ("red", 11)]),
        ("Jobs waiting", "timeseries", [("green", None), ("orange", 6), ("red", 11)]),
        ("Whole time, mean of 10 min", "stat", [("green", None), ("orange", 30), ("red", 60)]),
        ("Whole time", "timeseries", [("green", None), ("orange", 30), ("red", 60)]),
        ("CPU, share of one core", "timeseries", [("green", None), ("orange", 0.7)]),
        ("Memory in use", "timeseries", [("green", None), ("orange", 0.8)]),
        ("All cores", "timeseries", [("green", None), ("orange", 0.9)]),
        ("Disk", "timeseries", [("green", None), ("orange", 0.85), ("red", 0.95)]),
        ("Days until Redis is full", "timeseries", [("red", None), ("orange", 3), ("green", 14)]),
        ("Age of the newest backup", "timeseries", [("green", None), ("orange", 1.2), ("red", 2)]),
        ("Since Telegram gave updates", "timeseries", [("green", None), ("red", 60)]),
    ],
)
def test_colours_are_the_guides_thresholds(
    title: str, kind: str, steps: list[tuple[str, float | None]]
) -> None:
    thresholds = panel(title, kind)["fieldConfig"]["defaults"]["thresholds"]
    assert thresholds["mode"] == "absolute"
    assert [(step["color"], step["value"]) for step in thresholds["steps"]] == steps
