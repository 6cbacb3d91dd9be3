"""`observability.dramatiq` is a distribution of its own: what it imports is what that one asks for."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from observability import dramatiq

FOLDER = Path(dramatiq.__file__).parent
# Namespace packages, of which each distribution is a part.
NAMES = {
    "opentelemetry.instrumentation": "opentelemetry-instrumentation",
    "opentelemetry.semconv": "opentelemetry-semantic-conventions",
    "opentelemetry": "opentelemetry-api",
    "dramatiq": "dramatiq",
    "wrapt": "wrapt",
}
# What no public name leads to: log records.
PRIVATE = {"opentelemetry._logs"}


def imported(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module or ""
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, f"{file.name} imports from outside the package"


def test_its_distribution_asks_for_what_it_imports_and_no_more() -> None:
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    asked = {Requirement(line).name for line in project["dependencies"]}
    others = {name for name in imported(FOLDER) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {NAMES[next(n for n in NAMES if f"{name}.".startswith(f"{n}."))] for name in others} == asked
    assert {name for name in others if "._" in name} == PRIVATE


def test_under_its_other_name_it_brings_nothing_of_the_house_along() -> None:
    code = "import sys, observability.dramatiq; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    ours = {name for name in loaded if name.startswith(("observability.", "src"))}
    assert all(name.startswith("observability.dramatiq") for name in ours)
    assert not {"structlog", "psutil", "opentelemetry.sdk", "opentelemetry.proto"} & set(loaded)


def test_the_changelog_begins_with_its_version() -> None:
    first = next(
        line for line in (FOLDER / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")
    )
    assert first.split()[1] == dramatiq.__version__
