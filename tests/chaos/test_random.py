"""Many faults in random order, the same for the same seed: nothing lost, nothing twice."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from src.sandbox.telegram.audit import CallRecord
from tests.chaos.driver import run
from tests.chaos.faults import FAULTS, schedule
from tests.chaos.sends import Send, Sends
from tests.servers import RABBITMQ_SERVER
from tests.system import System


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
    assert report.verdict.wrongs["stray"] == 0
    assert report.verdict.complaints == []
    # With so many faults at once some are told that it took too long; never all.
    assert report.verdict.outcomes["delivered"] > 0


@pytest.mark.parametrize(
    ("answered", "killed", "away", "unknowable"),
    [
        (0.0, None, [], True),
        (10.0, None, [], False),
        (10.0, 9.0, [], True),
        (10.0, 11.0, [], True),
        (10.0, 20.0, [], False),
        (10.0, 20.0, [(9.0, 19.0)], True),
        (10.0, 20.0, [(12.0, 13.0), (12.0, 13.0), (21.0, 50.0)], False),
        (10.0, 20.0, [(11.0, 18.0), (14.0, 15.0), (17.0, 19.5)], True),
    ],
)
def test_whether_anybody_could_know_of_a_message(
    answered: float, killed: float | None, away: list[tuple[float, float]], unknowable: bool
) -> None:
    sends = Sends(System(Path(), {}))
    album = CallRecord(1, 0.0, 1, "sendMediaGroup", 7, 5, 2, 200, None, 1.0, {}, ())
    sends.seen.append(Send(album, "bot-1", answered))
    sends.killed_at.update({"bot-1": killed} if killed is not None else {})
    sends.away.extend(away)
    assert [sends.unknowable(7, message) for message in (4, 5, 6, 7)] == [
        False,
        unknowable,
        unknowable,
        False,
    ]
    assert not sends.unknowable(8, 5)


def test_a_seed_gives_the_same_schedule_and_every_kind_of_fault() -> None:
    events = schedule(3, 1000, 2)
    assert events == schedule(3, 1000, 2) != schedule(4, 1000, 2)
    assert {event.kind for event in events} == set(FAULTS)
