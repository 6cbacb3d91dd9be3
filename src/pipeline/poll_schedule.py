"""When to ask a provider about a generation again.

Learned, not fixed: what the provider says of its progress first, else how long the same model's last
generations took. A provider should be asked a few times near the likely end, not every second from
the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from src.jobs.estimate import quantile

_FEW = 8
_FIRST_UNKNOWN = 3.0
_SHORTEST = 0.4
_LONGEST = 10.0
_AFTER = 0.1
_REPORTS = 300


class Progress:
    """What a model's progress means: which share of the whole time has passed when it says so much.

    Providers report in their own way: some begin late, some leave time for the end. A straight line
    through the reports of generations that have ended corrects for both.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque(maxlen=_REPORTS)
        self._line: tuple[float, float] | None = (0.0, 1.0)
        self._unfitted = 0

    def learn(self, progress: float, share: float) -> None:
        """A generation that said `progress` had by then run for `share` of the time it took."""
        self._reports.append((progress, share))
        self._unfitted += 1
        # Of many, a few more move the line little.
        if self._unfitted > len(self._reports) // 20:
            self._line = None

    def share(self, progress: float) -> float:
        """The share of the time that has likely passed, above 0 and at most 1."""
        if self._line is None:
            self._line, self._unfitted = _fit(self._reports), 0
        offset, slope = self._line
        return min(1.0, max(0.01, offset + slope * progress))


def _fit(reports: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Offset and slope of the line of least squares; the diagonal where there is too little to go by."""
    if len(reports) < _FEW:
        return 0.0, 1.0
    n = len(reports)
    mean_x, mean_y = sum(x for x, _ in reports) / n, sum(y for _, y in reports) / n
    spread = sum((x - mean_x) ** 2 for x, _ in reports)
    if spread < 0.0001 * n:
        # It always says the same before the end, such as 99 %.
        return mean_y - mean_x, 1.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in reports) / spread
    return mean_y - slope * mean_x, slope


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
    return max(_SHORTEST, quantile(durations, 0.04))


def next_poll(
    durations: Sequence[float],
    elapsed: float,
    progress: float | None = None,
    fixed: float | None = None,
    known: Progress | None = None,
) -> float:
    """Seconds to the next poll of a generation that has run for `elapsed` seconds.

    Args:
        progress: 0..1 where the provider tells. known: what this model's progress means.
    """
    if fixed is not None:
        return fixed
    if progress is not None and progress > 0.05 and elapsed > 1:
        share = known.share(progress) if known else progress
        left = elapsed * (1 - share) / share
        # Far from the end a report's rounding and the line's error weigh more: go most of the way first.
        if left > _LONGEST:
            return min(0.8 * left, _LONGEST)
        # Of one that says 99 % for long it is asked at most every fiftieth of its time.
        return max(left + _AFTER, _SHORTEST, elapsed / 50)
    later = sorted(d for d in durations if d > elapsed)
    if len(durations) < _FEW or not later:
        return min(max(1.0, elapsed * 0.15), _LONGEST / 2)
    return min(max(quantile(later, 1 / 3) - elapsed, _SHORTEST), _LONGEST)
