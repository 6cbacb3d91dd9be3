"""The Helm chart with each of its examples: linted and rendered by Helm, held against Kubernetes' schemas and our promises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.api.app import _GRACE_SECONDS
from src.settings import load_settings

CHART = Path(__file__).parents[2] / "compose/helm"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
TOOLS = Path(os.environ.get("IMAGEBOT_TOOLS") or Path.home() / ".cache/imagebot-tools")
VERSION = "1.34.0"


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{TOOLS}:{os.environ['PATH']}")
    return found or pytest.skip(f"needs tests/compose/tools.sh {name}")


def helm(*words: str | Path) -> str:
    done = subprocess.run([tool("helm"), *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=EXAMPLES, ids=lambda file: file.stem)
def rendered(request: pytest.FixtureRequest) -> str:
    return helm("template", "bot", CHART, "--kube-version", VERSION, "-f", request.param)


@pytest.fixture
def objects(rendered: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(rendered) if one]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_helm_finds_nothing_wrong(file: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART, "-f", file)


def test_kubernetes_would_take_it(rendered: str, tmp_path: Path) -> None:
    source = TOOLS / "kubernetes.json"
    if not source.exists():
        pytest.skip("needs tests/compose/tools.sh schemas")
    write_schemas(source, TOOLS / "keda.sh_scaledobjects.yaml", tmp_path)
    command = [tool("kubeconform"), "-strict", "-summary", "-output", "json"]
    command += ["-schema-location", f"{tmp_path}/{{{{ .ResourceKind }}}}.json"]
    done = subprocess.run(command, input=rendered, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["summary"]["valid"] >= 8


def test_no_pod_is_root_or_writes_or_says_a_secret(objects: list[dict[str, Any]]) -> None:
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert all("valueFrom" not in one for one in container["env"])
        assert [*container["envFrom"][0]] == ["secretRef"]
    assert not [one for one in objects if one["kind"] == "Secret"]


def settings_of(objects: list[dict[str, Any]]) -> dict[str, str]:
    """The same for each part, and of each version its own: the pods of the one before keep theirs, also when they restart."""
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] == "Deployment"]
    first, *more = [{one["name"]: one["value"] for one in pod["containers"][0]["env"]} for pod in pods]
    assert more == [first] * len(more)
    return first


def test_its_settings_are_settings(objects: list[dict[str, Any]]) -> None:
    fields = type(load_settings(_env_file=None)).model_fields
    said = settings_of(objects)
    assert {name for name in said if not name.startswith("OTEL_")} <= {name.upper() for name in fields}
    secret = {name.upper() for name, field in fields.items() if "SecretStr" in str(field.annotation)}
    assert not secret & said.keys()


@pytest.mark.parametrize(
    ("value", "said"), [("1234567890", "1234567890"), ("true", "true"), ("0.25", "0.25"), ('"007"', "007")]
)
def test_a_setting_is_said_as_it_was_written(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "values.yaml").write_text(f"settings: {{ADMIN_IDS: {value}, LOG_FORMAT: console}}")
    rendered = helm("template", "bot", CHART, "--kube-version", VERSION, "-f", tmp_path / "values.yaml")
    found = settings_of([one for one in yaml.safe_load_all(rendered) if one])
    assert (found["ADMIN_IDS"], found["LOG_FORMAT"]) == (said, "console")


def test_each_part_is_alive_by_its_own_word(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        if one["kind"] == "Deployment" and not one["metadata"]["name"].endswith("-backup"):
            container = one["spec"]["template"]["spec"]["containers"][0]
            assert "livenessProbe" in container
            # Until then it is not ready, and takes nobody's place.
            assert "startupProbe" in container


def test_no_drain_of_a_node_takes_all_of_a_part(objects: list[dict[str, Any]]) -> None:
    budgets = {
        one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "PodDisruptionBudget"
    }
    for one in objects:
        if one["kind"] == "Deployment" and not one["metadata"]["name"].endswith("-backup"):
            budget = budgets.pop(one["metadata"]["name"])
            assert budget["maxUnavailable"] == 1
            # Pods that cannot start keep no node from being drained.
            assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
            assert budget["selector"] == one["spec"]["selector"]
    assert not budgets


def test_an_api_that_ends_answers_until_nobody_asks_it(objects: list[dict[str, Any]]) -> None:
    for one in objects:
        if one["kind"] == "Deployment" and one["metadata"]["name"].endswith("-api"):
            pod = one["spec"]["template"]["spec"]
            (wait,) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1:]
            assert int(wait) + _GRACE_SECONDS < pod["terminationGracePeriodSeconds"]


def test_workers_come_and_go_by_what_the_collector_exports() -> None:
    rendered = helm("template", "bot", CHART, "--kube-version", VERSION, "-f", CHART / "examples/busy.yaml")
    objects = [one for one in yaml.safe_load_all(rendered) if one]
    (scaled,) = (one["spec"] for one in objects if one["kind"] == "ScaledObject")
    recording = CHART.parents[1] / "observability/prometheus/rules/recording.yml"
    assert scaled["triggers"][0]["metadata"]["query"] in recording.read_text()
    (worker,) = (
        one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == "bot-worker"
    )
    assert scaled["scaleTargetRef"]["name"] == "bot-worker"
    assert "replicas" not in worker["spec"]


def write_schemas(kubernetes: Path, keda: Path, folder: Path) -> None:
    """What kubeconform reads, from Kubernetes' OpenAPI 2 and KEDA's definition: one file a kind, nothing unknown allowed."""
    definitions = json.loads(kubernetes.read_text())["definitions"]
    for name, schema in definitions.items():
        if name.endswith(".IntOrString"):
            schema.update(type=["string", "integer"])
        elif name.endswith(".Quantity"):
            schema.update(type=["string", "number"])
        elif "properties" in schema:
            schema["additionalProperties"] = False
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            if kind["version"] == "v1" and kind["kind"] in KINDS:
                whole = {"$ref": f"#/definitions/{name}", "definitions": definitions}
                (folder / f"{kind['kind'].lower()}.json").write_text(json.dumps(whole))
    (version,) = yaml.safe_load(keda.read_text())["spec"]["versions"]
    (folder / "scaledobject.json").write_text(json.dumps(version["schema"]["openAPIV3Schema"]))


KINDS = {
    "Deployment",
    "Ingress",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
}
