"""From figures to the table of people and processes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from src.load.capacity import table
from src.load.figures import Figures, Spread


def _found(users: int, worker: float, calls: float) -> Figures:
    given: dict[str, Any] = {
        "users": users,
        "processes": 1,
        "cpu": {"worker": worker, "bot": 0.1, "redis": 0.05},
        "memory": {"worker": 200_000_000, "bot": 100_000_000, "redis": 10_000_000},
        "calls_a_second": calls,
        "answered": Spread(9, 0.2, 1.0, 2.0),
        "own": Spread(9, 0.9, 1.6, 3.0),
    }
    return Figures(**{field.name: given.get(field.name, 0) for field in fields(Figures)})


def test_a_crowd_gets_the_processes_whose_cores_stay_within_the_guides_normal() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table([_found(300, 0.1, 9.0), _found(1000, 1.5, 22.0)]).splitlines()
    ]
    assert rows[2][:4] == ["200-300", "7-10", "1", "10% / 10% / 5%"]
    assert rows[2][-1] == "Telegram's 30 calls a second (33% used)"
    assert rows[3][:3] == ["1,000", "none given", "3"]
    assert rows[3][-1] == "the worker's core (214% used)"
