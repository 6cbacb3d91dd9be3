"""When to ask a provider about a generation again: a few times near its likely end, not every second.

The likely end is learned from the progress that the provider reports, or else from how long the last
generations of the same model took.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from src.jobs.estimate import quantile
from src.pipeline.timeouts import FAR_FROM_THE_END, FIRST_POLL, LONGEST_POLL, POLL_MARGIN, SHORTEST_POLL

_FEW = 8
"""Generations or reports of progress below which there is too little to learn from."""
_REPORTS = 300


class ProgressCalibration:
    """Turns the progress that a model reports into the share of its time that has passed.

    The two differ: some providers report their first percent late, some say 99 % long before the end. A
    straight line fitted to the reports of ended generations corrects for both.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, float]] = deque(maxlen=_REPORTS)
        self._line: tuple[float, float] | None = (0.0, 1.0)
        self._unfitted = 0

    def learn(self, progress: float, share: float) -> None:
        """Add a report: when a generation said `progress`, `share` of all the time it took had passed."""
        self._reports.append((progress, share))
        self._unfitted += 1
        # Fitted anew only when enough reports have come to move the line.
        if self._unfitted > len(self._reports) // 20:
            self._line = None

    def share(self, progress: float) -> float:
        """The share of its time that a generation has likely run for, above 0 and at most 1."""
        if self._line is None:
            self._line, self._unfitted = _fit(self._reports), 0
        offset, slope = self._line
        return min(1.0, max(0.01, offset + slope * progress))


def _fit(reports: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Offset and slope of the least-squares line; those of the diagonal where there are too few reports."""
    if len(reports) < _FEW:
        return 0.0, 1.0
    n = len(reports)
    mean_x, mean_y = sum(x for x, _ in reports) / n, sum(y for _, y in reports) / n
    spread = sum((x - mean_x) ** 2 for x, _ in reports)
    if spread < 0.0001 * n:
        # It reports the same number until the end: no slope can be told.
        return mean_y - mean_x, 1.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in reports) / spread
    return mean_y - slope * mean_x, slope


def first_poll(durations: Sequence[float], fixed: float | None = None) -> float:
    """Seconds from acceptance to the first poll.

    Args:
        durations: how long the last generations of this model took, in seconds.
        fixed: the operator's POLL_INTERVAL, which overrides everything else.
    """
    if fixed is not None:
        return fixed
    if len(durations) < _FEW:
        return FIRST_POLL
    return max(SHORTEST_POLL, quantile(durations, 0.04))


def next_poll(
    durations: Sequence[float],
    elapsed: float,
    progress: float | None = None,
    fixed: float | None = None,
    known: ProgressCalibration | None = None,
) -> float:
    """Seconds to the next poll of a generation that has run for `elapsed` seconds.

    Args:
        progress: 0..1 where the provider reports it. known: this model's calibration.
    """
    if fixed is not None:
        return fixed
    if progress is not None and progress > 0.05 and elapsed > 1:
        share = known.share(progress) if known else progress
        left = elapsed * (1 - share) / share
        # Far from the end the estimate is rough, so ask once more on the way.
        if left > FAR_FROM_THE_END:
            return min(0.8 * left, LONGEST_POLL)
        # Stuck at 99 %: at most one poll per 2 % of its time.
        return max(left + POLL_MARGIN, SHORTEST_POLL, elapsed / 50)
    later = sorted(d for d in durations if d > elapsed)
    if len(durations) < _FEW or not later:
        return min(max(1.0, elapsed * 0.15), LONGEST_POLL / 2)
    return min(max(quantile(later, 1 / 3) - elapsed, SHORTEST_POLL), LONGEST_POLL)
