"""A chart of what happened, as PNG: a bar an hour or a day, and a line for how long pictures took.

Drawn by Pillow, which is here for the pictures anyway and takes about a tenth of a second; its own font has Latin letters only, so
there are numbers on the chart, and what the colours mean stands in the message that shows it.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from src.ops.tally import Bar

SIZE = (960, 540)
DELIVERED, FAILED, CANCELLED, SECONDS = "#31a354", "#de2d26", "#bdbdbd", "#2b6cb0"
_GROUND, _INK, _RULE = "#ffffff", "#4a5568", "#e2e8f0"
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 64, 28, 44
_STEPS = 4
_LABELS = 8
_TEXT = 18
# Drawn larger and scaled down, since Pillow's lines have hard edges.
_FINE = 2


def chart(bars: Sequence[Bar]) -> bytes:
    """The chart of these bars, with hours under it where they are of one day."""
    image = Image.new("RGB", (SIZE[0] * _FINE, SIZE[1] * _FINE), _GROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT * _FINE)
    left, top = _LEFT * _FINE, _TOP * _FINE
    right, bottom = image.width - _RIGHT * _FINE, image.height - _BOTTOM * _FINE
    most = _round(max(bar.delivered + bar.failed + bar.cancelled for bar in bars))
    slowest = _round(max(math.ceil(bar.seconds or 0) for bar in bars))
    for n in range(_STEPS + 1):
        y = bottom - (bottom - top) * n / _STEPS
        draw.line([(left, y), (right, y)], fill=_RULE, width=_FINE)
        draw.text((left - 8 * _FINE, y), f"{most * n / _STEPS:g}", _INK, font, anchor="rm")
        draw.text((right + 8 * _FINE, y), f"{slowest * n / _STEPS:g}s", SECONDS, font, anchor="lm")
    width = (right - left) / len(bars)
    points = []
    for place, bar in enumerate(bars):
        x, y = left + place * width, float(bottom)
        for number, colour in ((bar.delivered, DELIVERED), (bar.failed, FAILED), (bar.cancelled, CANCELLED)):
            if number:
                high = (bottom - top) * number / most
                draw.rectangle([x + width * 0.15, y - high, x + width * 0.85, y], fill=colour)
                y -= high
        if bar.seconds is not None:
            points.append((x + width / 2, bottom - (bottom - top) * bar.seconds / slowest))
        if place % math.ceil(len(bars) / _LABELS) == 0:
            where = (x + width / 2, bottom + 10 * _FINE)
            draw.text(where, _label(bar, bars), _INK, font, anchor="mt")
    if len(points) > 1:
        draw.line(points, fill=SECONDS, width=3 * _FINE, joint="curve")
    for point in points:
        draw.circle(point, 5 * _FINE, fill=SECONDS)
    out = io.BytesIO()
    image.resize(SIZE, Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()


def _round(most: int) -> int:
    """A number not less than that which the steps of the axis divide well."""
    scale = int(10 ** max(0, len(str(most)) - 2))
    return max(_STEPS, math.ceil(most / (_STEPS * scale)) * _STEPS * scale)


def _label(bar: Bar, bars: Sequence[Bar]) -> str:
    hourly = len(bars) > 1 and bars[1].at - bars[0].at < 86_400_000
    return time.strftime("%H:%M" if hourly else "%d.%m", time.gmtime(bar.at / 1000))
