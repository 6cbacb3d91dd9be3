"""The Collector's configuration, by its own validation, and the manifest it is built from."""

from __future__ import annotations

import yaml
from contract import OBSERVABILITY

COLLECTOR = OBSERVABILITY / "collector"


def load(name: str) -> dict:
    return yaml.safe_load((COLLECTOR / name).read_text())


def test_otelcol_accepts_both_forms(check) -> None:
    base = f"--config={COLLECTOR / 'config.yaml'}"
    check("otelcol", "validate", base)
    check("otelcol", "validate", base, f"--config={COLLECTOR / 'tail-sampling.yaml'}")


def test_the_manifest_builds_what_is_used_and_nothing_more() -> None:
    used = {
        (kind, name.split("/")[0].replace("_", ""))
        for config in (load("config.yaml"), load("tail-sampling.yaml"))
        for kind in ("receivers", "processors", "connectors", "exporters", "extensions")
        for name in config.get(kind, {})
    }
    manifest = load("builder.yaml")
    built = {
        (kind, module["gomod"].split()[0].rsplit("/", 1)[1].removesuffix(kind.removesuffix("s")))
        for kind in ("receivers", "processors", "connectors", "exporters", "extensions")
        for module in manifest[kind]
    }
    assert built == used


def test_tail_sampling_waits_out_a_job() -> None:
    from src.settings import Settings

    wait = load("tail-sampling.yaml")["processors"]["tail_sampling"]["decision_wait"]
    assert int(wait.removesuffix("s")) > Settings.model_fields["job_deadline"].default
