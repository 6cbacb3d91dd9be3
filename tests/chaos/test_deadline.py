"""A generation that never ends: at the deadline the person is told, and it is stopped at the provider.

Neither kie.ai nor OpenAI has a way to cancel (src/providers), so that is seen with a provider that has.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from src.jobs import State
from tests.system import System, running

_DEADLINE = {"JOB_DEADLINE": "10", "LEASE": "3", "PROGRESS_INTERVAL": "1"}


@pytest.mark.soak
@pytest.mark.parametrize("provider", ["kie", "openai"])
async def test_a_generation_that_never_ends_is_ended_and_told(tmp_path: Path, provider: str) -> None:
    async with running(tmp_path, PROVIDER=provider, FAILOVER="false", **_DEADLINE) as system:
        ann = system.person()
        system.faults.add("never_ends", times=1)
        await ann.send_text("an endless one")
        await system.message(ann, lambda m: m.from_bot and "took too long" in m.text)
        [job] = await system.jobs_of(ann)
        assert (job.state, job.kind) == (State.FAILED, "timeout")
        assert 10_000 <= _told_at(job.story) < 15_000
        # Its slot is free again, and nobody asks about it any more.
        assert await system.ledger.running(provider) == 0
        polls = system.kie.audit.polls
        await _next_picture(system)
        if provider == "kie":
            assert system.kie.audit.polls - polls <= 10


async def _next_picture(system: System) -> None:
    bob = system.person("Bob")
    await bob.send_text("a short one")
    await system.picture(bob)


def _told_at(story: str) -> int:
    """Milliseconds from asking to the end."""
    return int(story.rpartition("@")[2])
