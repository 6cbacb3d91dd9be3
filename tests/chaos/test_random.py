"""Many faults in random order, the same for the same seed: nothing lost, nothing twice."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.chaos.driver import run
from tests.chaos.faults import FAULTS, schedule
from tests.servers import RABBITMQ_SERVER


@pytest.mark.parametrize(
    ("seed", "seconds", "every", "broker"),
    [
        pytest.param(7, 12.0, 1.2, "redis", marks=[pytest.mark.soak, pytest.mark.timeout(240)]),
        *(
            pytest.param(n, 90.0, 1.5, broker, marks=[pytest.mark.soak, pytest.mark.timeout(400)])
            for broker, seeds in (("redis", 8), ("rabbitmq", 3))
            for n in range(1, seeds + 1)
        ),
    ],
)
async def test_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, seed: int, seconds: float, every: float, broker: str
) -> None:
    if broker == "rabbitmq" and not RABBITMQ_SERVER.exists():
        pytest.skip("needs Debian's rabbitmq-server")
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    report = await run(
        tmp_path,
        seed=seed,
        seconds=seconds,
        jobs=round(seconds * 1.5),
        every=every,
        rabbitmq=broker == "rabbitmq",
    )
    print(report)
    assert report.verdict.complaints == []
    # With so many faults at once some are told that it took too long; never all.
    assert report.verdict.outcomes["delivered"] > 0


def test_a_seed_gives_the_same_schedule_and_every_kind_of_fault() -> None:
    events = schedule(3, 1000, 2)
    assert events == schedule(3, 1000, 2) != schedule(4, 1000, 2)
    assert {event.kind for event in events} == set(FAULTS)
