"""What compose/ promises of every service, held against the files themselves and the settings.

No engine is needed. That the commands run is tested where the parts are (tests/e2e, tests/api).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from src.local.demo import MINI_APP
from src.local.redis_server import redis_command
from src.local.supervisor import DRAIN
from src.ops import backup
from src.sandbox.telegram import DEMO_STORE, DEMO_TOKEN
from src.settings import load_settings

FOLDER = Path(__file__).parents[2] / "compose"
BASE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SECRETS = yaml.safe_load((FOLDER / "secrets.yaml").read_text())
DEMO = yaml.safe_load((FOLDER / "demo.yaml").read_text())
RABBITMQ = yaml.safe_load((FOLDER / "rabbitmq.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = {
    **BASE["services"],
    "sandbox": DEMO["services"]["sandbox"],
    "rabbitmq": RABBITMQ["services"]["rabbitmq"],
}
SETTINGS = {name.upper() for name in type(load_settings(_env_file=None)).model_fields}
# Read by other programs: OpenTelemetry's standard variables and Dramatiq's own.
STANDARD = re.compile(r"OTEL_[A-Z_]+|dramatiq_[a-z_]+")
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("imagebot:")]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SERVICES[request.param]


def test_the_guides_services_start_without_a_profile() -> None:
    started = {name for name, service in BASE["services"].items() if "profiles" not in service}
    assert {"redis", "bot", "worker-image", "api", "collector", "jaeger", "backup"} == started


def test_it_is_limited_and_its_log_rotates(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert float(service["cpus"]) > 0
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["restart"] == "unless-stopped"


def test_it_can_change_nothing_of_its_image(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_its_image_is_pinned(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-\w+)?(@sha256:[0-9a-f]{64})?", service["image"])


def test_it_is_not_run_by_root(service: dict[str, Any]) -> None:
    if not service["image"].startswith("imagebot:"):  # its own file says so
        assert service["user"].partition(":")[0] not in ("", "root", "0")


def test_nobody_reaches_what_people_said_from_outside() -> None:
    """Only what needs Redis shares a network with it, and that one leads nowhere."""
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert BASE["networks"]["core"] == {"internal": True}
    assert networks["redis"] == networks["rabbitmq"] == {"core"}
    assert {name for name in networks if "core" in networks[name]} - {"redis", "rabbitmq"} == {
        "bot",
        "worker-image",
        "api",
        "backup",
        "redis-exporter",
    }
    assert all(networks[name] - {"core"} for name, service in SERVICES.items() if "ports" in service)


def test_redis_asks_for_a_password() -> None:
    assert "--requirepass ${REDIS_PASSWORD:?" in SERVICES["redis"]["command"]
    assert ":${REDIS_PASSWORD:?" in SERVICES["bot"]["environment"]["REDIS_URL"]


@pytest.mark.parametrize("name", [name for name in OURS if name in BASE["services"]])
def test_what_env_says_comes_before_what_is_said_here(name: str) -> None:
    service = SERVICES[name]
    assert service["env_file"] == [{"path": ".env", "required": False}]
    for variable, value in service["environment"].items():
        assert re.match(rf"\$\{{{variable}:?-", value), variable


def test_every_setting_works_from_env(tmp_path: Path) -> None:
    """Asked of Docker Compose itself."""
    compose = docker_compose()
    shutil.copytree(FOLDER, tmp_path / "compose")
    said = {name: f"{name.lower()}-of-env" for name in SETTINGS} | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4318",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
    }
    (tmp_path / "compose/.env").write_text("".join(f"{name}={value}\n" for name, value in said.items()))
    done = subprocess.run(
        [*compose, "config", "--format", "json"],
        cwd=tmp_path / "compose",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    services = json.loads(done.stdout)["services"]
    for name in ("bot", "worker-image", "api", "backup"):
        assert said.items() <= services[name]["environment"].items()


@pytest.mark.parametrize("further", ["demo.yaml", "rabbitmq.yaml", "secrets.yaml"])
def test_docker_compose_takes_the_files(further: str) -> None:
    done = subprocess.run(
        [*docker_compose(), "-f", "compose.yaml", "-f", further, "--profile", "*", "config", "--quiet"],
        cwd=FOLDER,
        env={"PATH": os.environ["PATH"], "REDIS_PASSWORD": "r", "RABBITMQ_PASSWORD": "r"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def docker_compose() -> list[str]:
    """The command, of this machine or as tools.sh fetched it; the test is skipped where there is none."""
    tools = Path(os.environ.get("IMAGEBOT_TOOLS") or Path.home() / ".cache/imagebot-tools")
    found = shutil.which("docker-compose", path=f"{os.environ['PATH']}:{tools}")
    return [found] if found else pytest.skip("needs tests/compose/tools.sh docker-compose")


def test_its_health_is_checked(service: dict[str, Any]) -> None:
    if service is SERVICES["collector"]:
        # Its image has nothing to ask with; the alert of this name asks from outside.
        rules = (FOLDER.parent / "observability/prometheus/rules/alerts.yml").read_text()
        assert "alert: CollectorDown" in rules
    else:
        assert len(service["healthcheck"]["test"]) >= 2


def test_its_ports_are_this_machines_own(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_the_files_it_mounts_exist(service: dict[str, Any]) -> None:
    declared = set(BASE["volumes"]) | set(DEMO["volumes"]) | set(RABBITMQ["volumes"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert (FOLDER / source).exists() if source.startswith(".") else source in declared


@pytest.mark.parametrize("name", OURS)
def test_its_environment_holds_only_settings(name: str) -> None:
    given = SERVICES[name].get("environment", {}) | DEMO["services"][name].get("environment", {})
    assert [key for key in given if key not in SETTINGS and not STANDARD.fullmatch(key)] == []


@pytest.mark.parametrize("name", OURS)
def test_a_stop_leaves_time_to_finish(name: str) -> None:
    if name != "sandbox":
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 25


def test_the_worker_hands_over_before_its_time_is_up() -> None:
    assert SERVICES["worker-image"]["command"][-2:] == list(DRAIN)


def test_the_worker_can_be_scaled() -> None:
    assert not SERVICES["worker-image"].keys() & {"container_name", "ports", "hostname"}


def test_the_health_of_the_backup_is_a_file_it_writes() -> None:
    service = SERVICES["backup"]
    shell = shlex.split(service["healthcheck"]["test"][1])
    assert shell[shell.index("-name") + 1] == backup._PATTERN
    assert service["command"][2] == shell[1] == service["volumes"][0].partition(":")[2]


def test_redis_keeps_what_it_is_told(tmp_path: Path) -> None:
    words = shlex.split(re.sub(r"\$\{[^}]*\}", "PASSWORD", SERVICES["redis"]["command"]))
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    # As the embedded one has it, by its newer name.
    embedded = redis_command(tmp_path, tmp_path / "redis.sock")
    old_name = embedded[embedded.index("--hash-max-ziplist-value") + 1]
    assert options["--hash-max-listpack-value"] == old_name
    assert int(options["--maxmemory"].removesuffix("mb")) * 2 < 1024, "a rewrite may need as much again"


def test_the_example_of_env_has_only_names_that_something_reads() -> None:
    text = (FOLDER / ".env.example").read_text()
    names = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    files = [(FOLDER / name).read_text() for name in ("compose.yaml", "rabbitmq.yaml")]
    interpolated = set(re.findall(r"\$\{([A-Z_]+)", "".join(files)))
    assert names
    assert set(names) - SETTINGS - interpolated == set()
    assert interpolated <= set(names)


def test_the_demo_speaks_to_the_sandbox_alone() -> None:
    for name in ("bot", "worker-image", "api"):
        environment = DEMO["services"][name]["environment"]
        assert environment["TELEGRAM_TOKEN"] == DEMO_TOKEN
        assert environment["INLINE_STORAGE_CHAT"] == str(DEMO_STORE)
        inside = rf"http://sandbox:8090|redis://:\S+@redis:|{MINI_APP}$"
        addresses = [value for key, value in environment.items() if key.endswith("_URL") and value]
        assert all(re.match(inside, address) for address in addresses)
    command = DEMO["services"]["sandbox"]["command"]
    assert DEMO_TOKEN in command
    port = SERVICES["api"]["command"][-1]
    assert command[command.index("--api") + 1] == f"http://api:{port}"
    assert set(SERVICES["api"]["networks"]) & set(SERVICES["sandbox"]["networks"])


def test_the_image_is_installed_by_constraints_and_not_run_by_root() -> None:
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    assert any("pip install" in line and "--constraint constraints.txt" in line for line in lines)
    assert next(line for line in reversed(lines) if line.startswith("USER")) == "USER 10001:10001"
    assert sum(line.startswith("FROM ") for line in lines) == 2
    for line in lines:
        if line.startswith("COPY ") and "--from" not in line:
            *sources, _ = line.split()[1:]
            assert all((FOLDER.parent / source).exists() for source in sources)


def test_secrets_from_files_are_settings_of_every_part() -> None:
    """The override file: Docker puts each of these at /run/secrets, where the settings look."""
    assert type(load_settings(_env_file=None)).model_fields["secrets_dir"].default == Path("/run/secrets")
    assert {name.upper() for name in SECRETS["secrets"]} <= SETTINGS
    for name, secret in SECRETS["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
    assert set(SECRETS["services"]) == {name for name in OURS if name in BASE["services"]}
    for service in SECRETS["services"].values():
        assert set(service["secrets"]) == set(SECRETS["secrets"])


def test_everything_that_sends_or_takes_wake_ups_goes_through_rabbitmq() -> None:
    service = RABBITMQ["services"]["rabbitmq"]
    for name in ("bot", "worker-image", "api"):
        part = RABBITMQ["services"][name]
        assert part["environment"].keys() == {"BROKER_URL"} <= SETTINGS
        address = urlsplit(part["environment"]["BROKER_URL"].replace(":?set it in .env", ""))
        assert (address.username, address.hostname) == (
            service["environment"]["RABBITMQ_DEFAULT_USER"],
            service["hostname"],
        )
        assert part["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}
