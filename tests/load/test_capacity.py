"""From figures to the table of people and processes."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, cast

import httpx
import pytest

from src.jobs import Ledger
from src.load import run
from src.load.capacity import table
from src.load.figures import Figures, Spread
from src.load.report import verdict


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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"charged_twice": 2}, "2 pictures submitted twice"), ({"unfinished": 1}, "1 jobs without an end")],
)
def test_a_run_is_not_good_that_draws_twice_or_leaves_a_job_open(wrong: dict[str, int], said: str) -> None:
    good = replace(_found(300, 0.1, 9.0), endless={}, vain={}, broken=[])
    bad = replace(good, **cast("Any", wrong))
    assert (good.is_good, bad.is_good) == (True, False)
    assert verdict(bad) == f"NOT GOOD: {said}."


async def test_a_wish_without_an_update_is_judged_by_no_ledger(redis_client: Any) -> None:
    unsaid: list[list[str]] = []

    def world(asked: httpx.Request) -> httpx.Response:
        if asked.method == "POST":
            unsaid.append(json.loads(asked.content))
        return httpx.Response(200, json={"open": [[[], None], [["u1"], None]], "untaken": 0})

    async with httpx.AsyncClient(transport=httpx.MockTransport(world), base_url="http://world") as client:
        assert await run._judge_silence(client, Ledger(redis_client)) == 2
    assert unsaid == [["u1"]]


def test_a_crowd_gets_the_processes_whose_cores_stay_within_the_guides_normal() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table([_found(300, 0.1, 9.0), _found(1000, 1.5, 22.0)]).splitlines()
    ]
    assert rows[2][:4] == ["200-300", "7-10", "1", "10% / 10% / 5%"]
    assert rows[2][-1] == "Telegram's 30 calls a second (33% used)"
    assert rows[3][:3] == ["1,000", "none given", "3"]
    assert rows[3][-1] == "the worker's core (214% used)"
