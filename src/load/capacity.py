"""From people to processes: runs of growing crowds on one worker process, and the table they make.

What a crowd needs is worked out from what its run used; the guide's lines for 10 to 300 people stand
beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from src.load.figures import Figures, load_of

# People in a run; the people its line speaks for; the workers that the guide gives them.
LINES = (
    (20, "10-20", "1"),
    (100, "50-100", "2-3"),
    (200, "100-200", "5-7"),
    (300, "200-300", "7-10"),
    (1000, "1,000", "none given"),
)

_HEAD = (
    "people",
    "workers in the guide",
    "worker processes",
    "of a core: worker / bot / Redis",
    "memory: worker / bot / Redis",
    "Bot API calls a second",
    "first answer p50 / p95",
    "of the waiting ours, p50 / p95",
    "gives first",
)


def table(found: Sequence[Figures]) -> str:
    """The table in Markdown, a line a run."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(figures) for figures in found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(found: Figures) -> tuple[str, ...]:
    people, guide = next(((p, g) for users, p, g in LINES if users == found.users), (str(found.users), ""))
    loads = load_of(found)
    needed = math.ceil(loads["the worker's core"] * found.processes)
    first = max(loads, key=lambda name: loads[name])
    return (
        people,
        guide,
        str(max(1, needed)),
        " / ".join(f"{found.cpu[part]:.0%}" for part in ("worker", "bot", "redis")),
        " / ".join(f"{found.memory[part] / 1e6:.0f}" for part in ("worker", "bot", "redis")) + " MB",
        f"{found.calls_a_second:.1f} of 30",
        f"{found.answered.p50:.1f} / {found.answered.p95:.1f} s",
        f"{found.own.p50:.1f} / {found.own.p95:.1f} s",
        f"{first} ({loads[first]:.0%} used)",
    )
