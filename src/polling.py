"""When to ask a provider about a generation again.

Learned, not fixed: what the provider says of its progress first, else how long the same model's last
generations took. A provider should be asked a few times near the likely end, not every second from
the start.
"""

from __future__ import annotations

from collections.abc import Sequence

from src.jobs.estimate import quantile

_FEW = 8
_FIRST_UNKNOWN = 3.0
_SHORTEST = 0.5
_LONGEST = 10.0


def first_poll(durations: Sequence[float], fixed: float | None = None) -> float:
    """Seconds from acceptance to the first poll.

    Args:
        durations: last generations of this provider and model, in seconds.
        fixed: the operator's interval, which then decides alone.
    """
    if fixed is not None:
        return fixed
    if len(durations) < _FEW:
        return _FIRST_UNKNOWN
    return max(_SHORTEST, quantile(durations, 0.1))


def next_poll(
    durations: Sequence[float],
    elapsed: float,
    progress: float | None = None,
    fixed: float | None = None,
) -> float:
    """Seconds to the next poll of a generation that has run for `elapsed` seconds.

    Args:
        progress: 0..1 where the provider tells; a straight line from it is believed.
    """
    if fixed is not None:
        return fixed
    if progress is not None and progress > 0.05 and elapsed > 1:
        left = elapsed * (1 - progress) / progress
        # Coarse progress is off by its own step; a bit late is cheaper than twice.
        return min(max(left * 1.02 + 0.1, _SHORTEST), _LONGEST)
    later = sorted(d for d in durations if d > elapsed)
    if len(durations) < _FEW or not later:
        return min(max(1.0, elapsed * 0.15), _LONGEST / 2)
    return min(max(quantile(later, 1 / 3) - elapsed, _SHORTEST), _LONGEST)
