"""Charts of the last hour as SVG paths, with the guide's thresholds as lines. Colours are the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.ops.samples import EVERY, Sample
from src.telegram.i18n import Voice

WIDTH, HEIGHT = 320, 96
_HOUR_MS = 3_600_000
_GAP_MS = 4 * EVERY * 1000


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: its title, the value now and the top of its scale in words, the path of its line, and its
    thresholds as (height, level)."""

    title: str
    now: str
    top: str
    path: str
    thresholds: tuple[tuple[float, str], ...]


def draw(samples: Sequence[Sample], say: Voice) -> list[Chart]:
    """The four charts of the guide's table."""
    waiting: Callable[[Sample], float | None] = lambda s: s.waiting  # noqa: E731
    return [
        _chart(say("ops-waiting"), samples, waiting, (5, 10), 12, str),
        _chart(
            say("ops-time"), samples, lambda s: s.time, (30, 60), 70, lambda v: say("ops-seconds", seconds=v)
        ),
        _chart(
            say("ops-cpu"),
            samples,
            lambda s: 100 * s.cpu,
            (70,),
            100,
            lambda v: say("ops-percent", percent=v),
        ),
        _chart(
            say("ops-memory"),
            samples,
            lambda s: 100 * s.memory,
            (80,),
            100,
            lambda v: say("ops-percent", percent=v),
        ),
    ]


def _chart(
    title: str,
    samples: Sequence[Sample],
    read: Callable[[Sample], float | None],
    thresholds: tuple[float, ...],
    least: float,
    word: Callable[[int], str],
) -> Chart:
    values = [(sample.at, read(sample)) for sample in samples]
    known = [value for _, value in values if value is not None]
    top = max([least, *known])
    last = values[-1][1] if values else None
    levels = ("attention", "problem")
    return Chart(
        title=title,
        now="–" if last is None else word(round(last)),
        top=word(round(top)),
        path=_path(values, top),
        thresholds=tuple((_y(t, top), levels[i]) for i, t in enumerate(thresholds) if t <= top),
    )


def _path(values: Sequence[tuple[int, float | None]], top: float) -> str:
    """The line; interrupted where nothing is known. The right edge is the newest sample."""
    if not values:
        return ""
    end = values[-1][0]
    parts: list[str] = []
    before = None
    for at, value in values:
        if value is None or end - at > _HOUR_MS:
            before = None
            continue
        x = WIDTH * (1 - (end - at) / _HOUR_MS)
        joined = before is not None and at - before <= _GAP_MS
        # A lone sample would be no line at all.
        parts.append(f"{'L' if joined else 'M'}{x:.1f} {_y(value, top):.1f}" + ("" if joined else "h0.1"))
        before = at
    return "".join(parts)


def _y(value: float, top: float) -> float:
    return round(HEIGHT - 2 - (HEIGHT - 6) * value / top, 1)
