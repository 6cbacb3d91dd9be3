"""What the source may use: public names of other packages, and only the rooms below its own."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROOMS = (
    ("cli",),
    ("load",),
    ("api",),
    ("bot",),
    ("actors",),
    ("worker",),
    ("ops",),
    ("local",),
    ("sandbox",),
    ("pipeline",),
    ("telegram",),
    ("telemetry",),
    ("app",),
    ("routing",),
    ("providers", "limits", "jobs"),
    ("store", "settings"),
)
"""The rooms of `src`, each of which imports only from those below it."""

UPWARD = {
    ("src.ops.snapshot", "src.worker.rabbitmq"): "the length of its queue is known to RabbitMQ alone",
    ("src.ops.doctor", "src.worker.rabbitmq"): "doctor tries the broker as the worker would",
}
"""Imports against that order, and what each is for."""

PRIVATE = {
    "_logs": "OpenTelemetry's documented place of its logs API and SDK",
    "_exit": "os._exit, documented: ends a process whose threads hang",
}
"""Private names of other packages that are used, and why there is no public way."""


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of `src` and `observability` by its dotted name."""
    found = {}
    for file in (file for top in ("src", "observability") for file in (ROOT / top).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text("utf-8"))
    return found


def is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Our own modules that a module imports."""
    return frozenset(imported(modules()[module]))


def imported(tree: ast.AST) -> Iterator[str]:
    """Our own modules that a module imports when it runs, also inside functions; not those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_named(node.test, "TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield from [n for n in (name, node.module) if n in modules()][:1]
        yield from imported(node)


def test_no_module_imports_itself_by_way_of_others() -> None:
    # A package's `__init__` may import its own modules, and they each other.
    graph = {
        name: {other for other in imports(name) if other != name and not name.startswith(f"{other}.")}
        for name in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_rooms_import_downwards_only() -> None:
    level = {f"src.{room}": height for height, rooms in enumerate(ROOMS) for room in rooms}
    upward = set()
    for name in modules():
        room = ".".join(name.split(".")[:2])
        for other in imports(name):
            of = ".".join(other.split(".")[:2])
            if name.startswith("observability"):
                wrong = not other.startswith("observability")
            else:
                wrong = of in level and level[of] < level.get(room, -1)
            if wrong:
                upward.add((name, other))
    assert not upward - set(UPWARD)


def test_every_room_has_its_place() -> None:
    found = {name.split(".")[1] for name in modules() if name.startswith("src.")}
    assert found == {room for rooms in ROOMS for room in rooms}


def test_the_world_we_cannot_reach_is_imported_by_demo_and_load_only() -> None:
    allowed = ("src.sandbox", "src.load", "src.local.demo", "src.cli.main")
    users = {
        name
        for name in modules()
        if any(other.startswith(("src.sandbox", "src.load")) for other in imports(name))
    }
    assert not {name for name in users if not name.startswith(allowed)}


def test_no_private_name_of_another_package_is_used() -> None:
    ours = {name for tree in modules().values() for name in defined(tree)}
    found = {(module, name) for module, tree in modules().items() for name in private(tree, ours)}
    assert not {(module, name) for module, name in found if name not in PRIVATE}


def private(tree: ast.Module, ours: set[str]) -> Iterator[str]:
    """Names with a leading underscore that a module takes from what is not ours.

    On `self` one may be inherited from a class of ours; on anything else it must be the module's own.
    """
    own = set(defined(tree))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Attribute):
            names = [node.attr] if node.attr not in (ours if is_named(node.value, "self") else own) else []
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] not in (
            "src",
            "observability",
        ):
            names = [*(alias.name for alias in node.names), *(node.module or "").split(".")]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        yield from (name for name in names if name.startswith("_") and not name.endswith("__"))


def defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module gives to its own: functions, classes, fields, what it assigns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif (
            isinstance(node, ast.Attribute)
            and is_named(node.value, "self")
            and isinstance(node.ctx, ast.Store)
        ):
            yield node.attr
