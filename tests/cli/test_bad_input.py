"""Whatever a person gives `imagebot` that cannot be: one line that says what to do, an exit code of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
from typer.testing import CliRunner

from src.cli.main import app
from tests.conftest import RedisProcess

USAGE = 2  # Click's
ROOT = Path(__file__).parents[2]
TOKEN = {"TELEGRAM_TOKEN": "1234567:" + "A" * 30}
KEY = {"KIE_API_KEY": "sandbox-key"}
AWAY = {"REDIS_URL": "redis://127.0.0.1:1/0"}
OTLP = AWAY | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
NO_REDIS = "Redis: nothing listens at its address: check REDIS_URL"
NEEDED = "REDIS_URL: is needed here"
SETTINGS = "Settings that need mending:\n  RATE_LIMIT: "

# Words, settings, exit code, how its one line goes on. {file} is a file, {broken} a file of nonsense.
CASES: list[tuple[str, dict[str, str], int, str]] = [
    ("demo --data {file}/x --prompt fox", {}, os.EX_CANTCREAT, "{file}/x cannot be made: Not a directory"),
    ("demo --data {file} --prompt fox", {}, os.EX_CANTCREAT, "{file} cannot be made: a file has that name"),
    ("demo --port 99999", {}, USAGE, ""),
    ("demo", {"REDIS_URL": "nonsense"}, os.EX_CONFIG, "Settings that need mending:\n  REDIS_URL: expected"),
    ("demo", {"RATE_LIMIT": "x"}, os.EX_CONFIG, SETTINGS),
    ("demo", AWAY, os.EX_UNAVAILABLE, NO_REDIS),
    ("demo", {"REDIS_URL": "{replica}"}, os.EX_UNAVAILABLE, "Redis: is a replica, which takes no writes"),
    ("demo", {"REDIS_URL": "{cluster}"}, os.EX_UNAVAILABLE, "Redis: is a cluster"),
    ("demo", {"REDIS_URL": "{weak}"}, os.EX_UNAVAILABLE, "Redis: its user may not do what is needed"),
    ("run", {}, os.EX_CONFIG, "Settings that are needed here:\n  TELEGRAM_TOKEN: .*\n  OPENAI_API_KEY or"),
    ("run --processes 0", {}, USAGE, ""),
    ("run --threads 0", {}, USAGE, ""),
    ("run", TOKEN | KEY | {"DATA_DIR": "{file}/x"}, os.EX_CANTCREAT, "{file}/x/redis cannot be made"),
    ("bot", AWAY, os.EX_CONFIG, "TELEGRAM_TOKEN: is needed here"),
    ("bot", TOKEN, os.EX_CONFIG, NEEDED),
    ("bot", {"RATE_LIMIT": "x"}, os.EX_CONFIG, SETTINGS),
    ("api", {}, os.EX_UNAVAILABLE, NEEDED),
    ("api --port {taken}", AWAY, os.EX_OSERR, "cannot listen at 127.0.0.1:{taken}: Address already in use"),
    ("api --fd 99", AWAY, os.EX_OSERR, "cannot listen at --fd 99: Bad file descriptor"),
    ("api --host nobody.invalid", AWAY, os.EX_OSERR, "cannot listen at nobody.invalid:8000: "),
    ("api --host a..b", AWAY, os.EX_OSERR, "cannot listen at a..b:8000: "),
    ("api --host 203.0.113.9", AWAY, os.EX_OSERR, "cannot listen at 203.0.113.9:8000: Cannot assign"),
    (
        "api",
        OTLP | {"OTEL_BSP_SCHEDULE_DELAY": "x"},
        os.EX_CONFIG,
        "OTEL_BSP_SCHEDULE_DELAY: expected a whole",
    ),
    ("bot", TOKEN | OTLP | {"OTEL_TRACES_EXPORTER": "x"}, os.EX_CONFIG, "OTEL_TRACES_EXPORTER: no exporter"),
    ("api --port 65536", AWAY, USAGE, ""),
    ("status", {}, os.EX_UNAVAILABLE, NEEDED),
    ("status", AWAY, os.EX_UNAVAILABLE, NO_REDIS),
    ("status --lang xx", AWAY, USAGE, ""),
    ("status", {"ENV_FILE": "none"}, os.EX_CONFIG, "ENV_FILE: there is no such file"),
    ("status", {"ENV_FILE": "{broken}"}, os.EX_CONFIG, "{broken} or a file of SECRETS_DIR cannot be read"),
    ("status", {"TELEGRAM_API_URL": "http://x:99999"}, os.EX_CONFIG, ".*\n  TELEGRAM_API_URL: Port out of"),
    ("status", {"REDIS_URL": "redis://x:99999"}, os.EX_CONFIG, ".*\n  REDIS_URL: expected an address"),
    ("status", KEY | AWAY | {"MODELS_FILE": "none.toml"}, os.EX_CONFIG, "MODELS_FILE: none.toml"),
    ("models", {"MODELS_FILE": "{broken}"}, os.EX_CONFIG, "MODELS_FILE: {broken}"),
    ("models", {"MODELS_FILE": "{folder}"}, os.EX_CONFIG, "MODELS_FILE: {folder}"),
    ("backup x", {}, os.EX_UNAVAILABLE, NEEDED),
    ("backup x", AWAY, os.EX_UNAVAILABLE, NO_REDIS),
    ("backup none/x", {"REDIS_URL": "{redis}"}, os.EX_DATAERR, "none/x cannot be written: No such file"),
    (
        "backup {folder}",
        {"REDIS_URL": "{redis}"},
        os.EX_DATAERR,
        "{folder} cannot be written: Is a directory",
    ),
    ("backup .", {"REDIS_URL": "{redis}"}, os.EX_DATAERR, ". cannot be written: Is a directory"),
    ("backup {pipe}", {"REDIS_URL": "{redis}"}, os.EX_DATAERR, "{pipe} cannot be written: it is no ordinary"),
    ("backup {file} --every 6h", AWAY, os.EX_CANTCREAT, "{file} cannot be made: a file has that name"),
    ("backup x --every 6x", AWAY, USAGE, ""),
    ("restore none", AWAY, os.EX_DATAERR, "none cannot be read: No such file"),
    ("restore {broken}", AWAY, os.EX_DATAERR, "{broken} is not a backup of this system, or is damaged"),
    ("restore {folder}", AWAY, os.EX_DATAERR, "{folder} cannot be read: Is a directory"),
    ("jobs list", {}, os.EX_UNAVAILABLE, NEEDED),
    ("jobs list", AWAY, os.EX_UNAVAILABLE, NO_REDIS),
    ("jobs show x", {"REDIS_URL": "{redis}"}, 1, "there is no job x"),
    ("jobs retry x", {"REDIS_URL": "{redis}"}, 1, "there is no job x"),
    ("jobs cancel x", {"REDIS_URL": "{redis}"}, 1, "there is no job x"),
    ("jobs drop x", AWAY, os.EX_UNAVAILABLE, NO_REDIS),
    ("load --data {file}", {}, os.EX_CANTCREAT, "{file} cannot be made: a file has that name"),
    ("load --png {file}/x.png", {}, os.EX_IOERR, "{file}/x.png: Not a directory"),
    ("load --users 0", {}, USAGE, ""),
    ("load --users 99999999", {}, USAGE, ""),
    ("load --minutes inf", {}, USAGE, ""),
    ("load --think inf", {}, USAGE, ""),
    ("load --slots 0", {}, USAGE, ""),
    ("jobs show {half}", {"REDIS_URL": "{redis}"}, 3, "a word of the command line is not UTF-8"),
    ("jobs drop {half}", {"REDIS_URL": "{redis}"}, 3, "a word of the command line is not UTF-8"),
    ("restore {half}", AWAY, os.EX_DATAERR, r"\\udcff cannot be read: No such file"),
    (
        "doctor",
        TOKEN | {"TELEGRAM_TOKEN": "1234567:" + "A" * 30 + " B"},
        os.EX_CONFIG,
        ".*\n  TELEGRAM_TOKEN: expected",
    ),
    ("doctor", {"RATE_LIMIT": "x"}, os.EX_CONFIG, SETTINGS),
    ("settings x", {}, USAGE, ""),
    ("nonsense", {}, USAGE, ""),
]


@pytest.fixture(scope="module")
def unfit(tmp_path_factory: pytest.TempPathFactory, redis_process: RedisProcess) -> Iterator[dict[str, str]]:
    """Addresses of those that answer and can not be used."""
    replica = RedisProcess(tmp_path_factory.mktemp("replica"), "--replicaof", "127.0.0.1", "1")
    cluster = RedisProcess(tmp_path_factory.mktemp("cluster"), "--cluster-enabled", "yes")
    with contextlib.ExitStack() as stack:
        for server in (replica, cluster):
            server.start()
            stack.callback(server.kill)
        # All of it in one: otherwise nothing is served.
        of_cluster = stack.enter_context(redis.Redis.from_url(cluster.url))
        of_cluster.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        admin = stack.enter_context(redis.Redis.from_url(redis_process.url))
        admin.execute_command("ACL", "SETUSER", "looker", "reset", "on", ">pw", "~*", "+@read", "+info")
        stack.callback(admin.execute_command, "ACL", "DELUSER", "looker")
        yield {
            "replica": replica.url,
            "cluster": cluster.url,
            "weak": redis_process.url.replace("unix://", "unix://looker:pw@"),
        }


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, redis_process: RedisProcess, unfit: dict[str, str]
) -> list[dict[str, Any]]:
    """What was said to each case, with the names in its words and its expectation filled in."""
    folder = tmp_path_factory.mktemp("cwd")
    file, broken = folder / "file", folder / "broken"
    file.touch()
    broken.write_bytes(b"\x00\xff nonsense")
    os.mkfifo(folder / "pipe")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        named = {
            "file": file,
            "broken": broken,
            "pipe": folder / "pipe",
            "folder": folder,
            "redis": redis_process.url,
            **unfit,
            "half": "\udcff",
            "taken": taken.getsockname()[1],
        }

        def fill(text: str) -> str:
            return re.sub(r"\{(\w+)\}", lambda match: str(named[match[1]]), text)

        nothing = {
            "PATH": os.environ["PATH"],
            "ENV_FILE": "",
            "SECRETS_DIR": os.devnull,
            "TMPDIR": str(folder),
        }
        cases = [
            [fill(words).split(), nothing | {name: fill(value) for name, value in env.items()}, str(folder)]
            for words, env, _, _ in CASES
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.forked"],
            cwd=ROOT,
            input=json.dumps(cases),
            stdout=subprocess.PIPE,
            text=True,
            timeout=150,
            check=True,
        )
    said: list[dict[str, Any]] = json.loads(done.stdout)
    return [one | {"line": fill(line)} for one, (*_, line) in zip(said, CASES, strict=True)]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{words} {[*env]}" for words, env, *_ in CASES])
def test_one_line_says_what_to_do(number: int, answers: list[dict[str, Any]]) -> None:
    answer, (_, _, code, line) = answers[number], CASES[number]
    said = answer["err"].removeprefix("Starting Redis, the sandbox, a worker and the bot …\n")
    assert answer["code"] == code, answer
    assert answer["out"] == ""
    if code == USAGE:
        assert said.startswith("Usage: ")
        return
    assert re.match("imagebot: " + answer["line"], said), said
    # A line for each setting that is wrong.
    assert len(said.splitlines()) == 1 + line.count("\n"), said


def test_every_command_is_given_something_wrong() -> None:
    tried = {words.partition(" -")[0] for words, *_ in CASES}
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for word in getattr(command, "commands", {"": command}):
            whole = f"{name} {word}".strip()
            assert any(f"{one} ".startswith(f"{whole} ") for one in tried), whole


def test_the_guide_has_every_exit_code() -> None:
    guide = (ROOT / "compose/README.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    listed = {int(code) for line in re.findall(r"^\| ([\d, ]+) \|", guide, re.M) for code in line.split(",")}
    assert {code for *_, code, _ in CASES} <= listed


def test_it_says_its_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert result.output.startswith(f"imagebot {version}, Python 3.")
    changes = (ROOT / ".github/CHANGELOG.md").read_text()
    assert f"\n## {version}\n" in changes


def test_a_terminal_without_these_letters_still_says_it() -> None:
    asked = subprocess.run(
        [sys.executable, "-m", "src.cli", "settings"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (asked.returncode, asked.stderr) == (0, b"")
    assert asked.stdout.isascii()
    assert b"\\u" in asked.stdout


def test_another_half_letter_is_not_of_the_command_line() -> None:
    failing = r"from src.cli import main; main.app = '\udcff'.encode; main.main()"
    asked = subprocess.run([sys.executable, "-c", failing], cwd=ROOT, stderr=subprocess.PIPE)
    assert asked.returncode == 1
    assert b"Traceback" in asked.stderr
    assert b"command line" not in asked.stderr


def test_an_interrupt_while_it_loads_is_no_traceback() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "src.cli", "status"]
    with subprocess.Popen(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"]}, stderr=subprocess.PIPE
    ) as asked:
        assert asked.stderr is not None
        # Among the first that `src.cli.main` loads; the greatest part is still to come.
        while b"typer" not in (line := asked.stderr.readline()):
            assert line
        asked.send_signal(signal.SIGINT)
        rest = asked.stderr.read()
    assert asked.returncode == -signal.SIGINT
    assert b"Traceback" not in rest
