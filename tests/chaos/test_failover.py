"""The master of Redis dies, is lost from sight, or hands over, while people ask: nothing is lost with it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from src.sandbox.telegram import Person
from tests.chaos.audit import Asked, audit
from tests.chaos.sends import Sends
from tests.servers import RedisAt, Sentinels
from tests.system import System, running

_JOBS = 60
_EVERY = 0.4
# A failover takes the sentinels about two seconds after the second in which they notice.
_FAILOVER_SECONDS = 15.0


async def _killed(sentinels: Sentinels, old: RedisAt) -> None:
    old.kill()
    await asyncio.to_thread(sentinels.fail_over, old)
    old.start()


async def _lost_from_sight(sentinels: Sentinels, old: RedisAt) -> None:
    """It wakes up as a master of its own, until the sentinels tell it who is."""
    assert old.process is not None
    old.process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(sentinels.fail_over, old)
    old.process.send_signal(signal.SIGCONT)


async def _handed_over(sentinels: Sentinels, old: RedisAt) -> None:
    await asyncio.to_thread(sentinels.hand_over)
    await asyncio.to_thread(sentinels.fail_over, old)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [_killed, _lost_from_sight, _handed_over])
async def test_nothing_is_lost_when_the_master_changes_under_load(
    tmp_path: Path, how: Callable[[Sentinels, RedisAt], Awaitable[None]]
) -> None:
    sentinels = Sentinels(tmp_path)
    env = {"LEASE": "3", "PROGRESS_INTERVAL": "1", "RATE_LIMIT": "100", "KIE_RATE": "20"}
    async with running(tmp_path, server=sentinels, **env) as system:
        asking = asyncio.create_task(_ask(system))
        await system.until(lambda: sum(system.kie.audit.submits.values()) >= _JOBS / 5)
        started = time.monotonic()
        await how(sentinels, sentinels.master())
        assert time.monotonic() - started < _FAILOVER_SECONDS
        asked = await asking
        # Whose picture does not come is for the audit to name.
        await asyncio.gather(*(system.picture(wish.person, 120) for wish in asked), return_exceptions=True)
        verdict = await audit(system, asked, Sends(system))
    print("\n".join(verdict.lines()))
    assert verdict.complaints == []
    assert verdict.outcomes == {"delivered": _JOBS}


async def _ask(system: System) -> list[Asked]:
    asked = []
    for number in range(_JOBS):
        person: Person = system.person(f"Person {number}")
        await person.send_text(f"picture {number}")
        asked.append(Asked(person, f"picture {number}"))
        await asyncio.sleep(_EVERY)
    return asked
