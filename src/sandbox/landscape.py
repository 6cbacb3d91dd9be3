"""The landscape of a sketch: the light of the hour, the sky, and layers of land fading into haze.

Shapes are drawn at twice the size and reduced, which smooths their edges; everything soft is drawn
small and enlarged.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from src.sandbox.figures import shade
from src.sandbox.scene import Rgb, Scene

_SKIES: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "day": ((86, 146, 206), (160, 202, 232), (242, 236, 220)),
    "dawn": ((104, 124, 180), (228, 176, 182), (255, 226, 188)),
    "sunset": ((66, 62, 118), (214, 110, 108), (255, 196, 120)),
    "night": ((10, 14, 36), (24, 36, 78), (66, 86, 132)),
}
_SUNS: dict[str, Rgb] = {
    "day": (255, 250, 226), "dawn": (255, 232, 200), "sunset": (255, 218, 150), "night": (236, 240, 250)
}  # fmt: skip
_LANDS: dict[str, Rgb] = {
    "hills": (84, 126, 84), "field": (116, 150, 78), "forest": (44, 84, 68), "mountains": (86, 100, 126),
    "sea": (58, 112, 148), "city": (84, 88, 112), "desert": (206, 158, 100), "space": (92, 84, 108),
}  # fmt: skip
_SNOW: Rgb = (232, 240, 250)
_AUTUMN: Rgb = (178, 102, 52)
_FIR: Rgb = (40, 78, 64)
_NIGHT: Rgb = (22, 32, 66)


@dataclass(frozen=True, slots=True)
class Light:
    """The colours of the hour."""

    top: Rgb
    middle: Rgb
    haze: Rgb
    sun: Rgb
    night: bool
    tint: Rgb
    strength: float

    def on(self, colour: Rgb) -> Rgb:
        return mix(colour, self.tint, self.strength)


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """Colour `share` of the way from a to b."""
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def light_of(scene: Scene) -> Light:
    top, middle, haze = _SKIES[scene.time]
    if scene.place == "space":
        top, middle, haze = (8, 8, 24), (28, 20, 56), (78, 48, 100)
    if scene.weather in ("rain", "fog", "snow") and scene.time != "night" and scene.place != "space":
        grey = (176, 186, 200) if scene.weather != "rain" else (128, 140, 158)
        share = 0.5 if scene.weather != "snow" else 0.35
        top, middle, haze = mix(top, grey, share), mix(middle, grey, share), mix(haze, grey, share * 0.7)
    night = scene.time == "night" or scene.place == "space"
    tints = {
        "day": (haze, 0.0),
        "dawn": (haze, 0.1),
        "sunset": ((122, 58, 74), 0.22),
        "night": (_NIGHT, 0.42),
    }
    tint, strength = tints["night" if night else scene.time]
    return Light(top, middle, haze, _SUNS[scene.time], night, tint, strength)


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, Rgb]]) -> Image.Image:
    """A vertical gradient through colours at shares of the height."""
    column = Image.new("RGB", (1, 64))
    for y in range(64):
        at = y / 63
        for (low, a), (high, b) in itertools.pairwise(stops):
            if low <= at <= high:
                column.putpixel((0, y), mix(a, b, (at - low) / max(high - low, 1e-9)))
                break
    return column.resize(size, Image.Resampling.BICUBIC)


def sky(scene: Scene, light: Light, size: tuple[int, int], chance: random.Random) -> Image.Image:
    width, height = size
    image = gradient(size, [(0, light.top), (0.34, light.middle), (0.62, light.haze), (1, light.haze)])
    if light.night:
        _stars(image, chance)
    low = scene.time in ("sunset", "dawn")
    x = round(width * chance.uniform(0.2, 0.8))
    y = round(height * (chance.uniform(0.4, 0.5) if low else chance.uniform(0.14, 0.26)))
    if scene.weather not in ("fog", "rain"):
        _sun(image, light, x, y, round(min(size) * (0.075 if low else 0.055)))
    if scene.place == "space":
        _planet(image, chance)
    else:
        _clouds(image, light, chance)
    return image


def _stars(image: Image.Image, chance: random.Random) -> None:
    width, height = image.size
    pen = ImageDraw.Draw(image)
    for _ in range(170):
        x, y = chance.random() * width, chance.random() ** 1.5 * height * 0.6
        r = chance.choice((0.6, 0.6, 1, 1.5)) * min(width, height) / 1024
        pen.ellipse((x - r, y - r, x + r, y + r), fill=mix((120, 140, 190), (255, 255, 255), chance.random()))


def _sun(image: Image.Image, light: Light, x: int, y: int, r: int) -> None:
    # The gradient ends at the corners; 76 is its value at the middle of a side, where it must be gone.
    glow = ImageOps.invert(Image.radial_gradient("L")).point(
        lambda v: round(max(0, (v - 76) / 179) ** 2 * 220)
    )
    for reach, strength in ((9, 0.75), (4, 0.8)):
        side = r * reach
        mask = glow.resize((side, side)).point(
            lambda v, s=strength: round(v * s * (0.5 if light.night else 1))
        )
        image.paste(light.sun, (x - side // 2, y - side // 2), mask)
    disc = Image.new("L", (8 * r, 8 * r))
    ImageDraw.Draw(disc).ellipse((2 * r, 2 * r, 6 * r, 6 * r), fill=255)
    disc = disc.reduce(2)
    image.paste(light.sun, (x - 2 * r, y - 2 * r), disc)
    if light.night:
        for dx, dy, size in ((-0.3, -0.2, 0.22), (0.25, 0.3, 0.3), (0.3, -0.4, 0.14)):
            spot = disc.resize((round(4 * r * size), round(4 * r * size))).point(lambda v: v * 3 // 10)
            at = (round(x + dx * r - 2 * r * size), round(y + dy * r - 2 * r * size))
            image.paste((176, 186, 206), at, spot)


def _planet(image: Image.Image, chance: random.Random) -> None:
    side = round(min(image.size) * 0.34)
    x, y = round(image.width * chance.uniform(0.05, 0.6)), round(image.height * 0.08)
    disc = Image.new("L", (side * 2, side * 2))
    ImageDraw.Draw(disc).ellipse((0, 0, side * 2 - 1, side * 2 - 1), fill=255)
    base = chance.choice(((196, 140, 110), (120, 150, 190), (170, 130, 180)))
    bands = gradient((side, side), [(i / 8, shade(base, chance.uniform(-0.25, 0.25))) for i in range(9)])
    shadow = Image.linear_gradient("L").rotate(50, expand=False).resize((side, side))
    image.paste(
        Image.composite(Image.new("RGB", (side, side), (16, 12, 34)), bands, shadow), (x, y), disc.reduce(2)
    )


def _clouds(image: Image.Image, light: Light, chance: random.Random) -> None:
    small = Image.new("L", (image.width // 8, image.height // 8))
    pen = ImageDraw.Draw(small)
    for _ in range(7):
        x, y = chance.random() * small.width, chance.uniform(0.06, 0.42) * small.height
        wide = chance.uniform(0.08, 0.2) * small.width
        for part in range(5):
            cx = x + (part - 2) * wide * 0.4 + chance.uniform(-3, 3)
            rx, ry = wide * chance.uniform(0.3, 0.5), wide * chance.uniform(0.06, 0.13)
            pen.ellipse((cx - rx, y - ry, cx + rx, y + ry), fill=chance.randint(70, 150))
    soft = small.filter(ImageFilter.GaussianBlur(2.4)).resize(image.size, Image.Resampling.BICUBIC)
    if light.night:
        soft = soft.point(lambda v: v // 4)
    image.paste(mix(light.haze, (255, 255, 255), 0.35), (0, 0), soft)


def land(image: Image.Image, scene: Scene, light: Light, horizon: int, chance: random.Random) -> Rgb:
    """Layers from far to near; returns the colour of the nearest ground."""
    base = _LANDS[scene.place]
    if scene.weather == "autumn" and scene.place not in ("sea", "city", "space"):
        base = mix(base, _AUTUMN, 0.6)
    near = light.on(mix(base, _SNOW, 0.8) if scene.weather == "snow" and scene.place != "sea" else base)
    height = image.height
    haze = mix(light.haze, light.on(_SNOW), 0.55) if scene.weather == "snow" else light.haze
    if scene.place == "sea":
        _ridge(image, horizon, mix(near, light.haze, 0.72), light.haze, _waves(chance, 0.03, 2))
        _water(image, light, near, horizon, chance)
        if not any(ashore not in ("boat", "whale") for ashore in scene.subjects):
            return near
        sand = light.on(_SNOW if scene.weather == "snow" else (222, 190, 142))
        _ridge(image, round(image.height * 0.83), sand, shade(sand, -0.3), _waves(chance, 0.03, 1))
        return sand
    if scene.place in ("mountains", "space", "forest", "hills", "field"):
        peaks = scene.place in ("mountains", "space")
        for step, up in ((0.75, 0.24), (0.55, 0.12)) if peaks else ((0.72, 0.1),):
            line = _peaks(chance) if peaks else _waves(chance, 0.05, 2)
            colour = mix(light.on((92, 104, 132) if peaks else base), haze, step)
            cap = light.on((240, 244, 252)) if peaks and scene.place != "space" else None
            _ridge(image, horizon - round(up * height * 0.6), colour, haze, line, cap=cap)
    if scene.place == "city":
        for step, tall in ((0.66, 0.3), (0.3, 0.22)):
            _skyline(image, mix(near, light.haze, step), light, horizon + round(0.05 * height), tall, chance)
    rows = ((0.5, 0.02), (0.28, 0.1), (0.0, 0.2)) if scene.place != "city" else ((0.1, 0.1), (0.0, 0.2))
    for index, (step, down) in enumerate(rows):
        wooded = scene.place == "forest" or (scene.place in ("hills", "mountains") and index == 1)
        firs = wooded and index < len(rows) - 1
        colour = mix(near, haze, step)
        if firs:
            needles = light.on(mix(_FIR, _AUTUMN if scene.weather == "autumn" else _FIR, 0.5))
            colour = mix(mix(colour, needles, 0.75), haze, step)
        smoothness = 1 if scene.place in ("desert", "field") else 2
        line = _waves(chance, 0.05, smoothness)
        fade = haze if step else shade(near, -0.22 if not light.night else -0.4)
        _ridge(image, horizon + round(down * height), colour, fade, line, firs=chance if firs else None)
    return near


def _waves(chance: random.Random, swing: float, octaves: int) -> list[float]:
    """A rolling line: offsets (shares of the height) at 0..1 of the width, in 65 steps."""
    line = [0.0] * 65
    for octave in range(octaves):
        phase, turns = chance.random() * math.tau, chance.uniform(0.6, 1.3) * (octave * 1.4 + 1)
        for i in range(65):
            line[i] += math.sin(phase + i / 64 * turns * math.tau) * swing / (octave + 1) ** 1.3
    return line


def _peaks(chance: random.Random) -> list[float]:
    """A jagged line by midpoint displacement."""
    line, swing = [chance.uniform(-0.04, 0.04), chance.uniform(-0.14, 0), chance.uniform(-0.04, 0.04)], 0.15
    while len(line) < 65:
        wider: list[float] = []
        for a, b in itertools.pairwise(line):
            wider += [a, (a + b) / 2 + chance.uniform(-swing, swing)]
        line, swing = [*wider, line[-1]], swing * 0.52
    return line


def _ridge(
    image: Image.Image,
    level: int,
    colour: Rgb,
    fade: Rgb,
    line: Sequence[float],
    *,
    cap: Rgb | None = None,
    firs: random.Random | None = None,
) -> None:
    """One layer of land below a line, fading downwards; with snow caps, or firs along its edge."""
    width, height = image.size
    top = max(0, round(level + min(line) * height) - round(0.12 * height))
    if top >= height - 2:
        return
    mask = Image.new("L", (width * 2, (height - top) * 2))
    points = [(i / 64 * width * 2, (level + y * height - top) * 2) for i, y in enumerate(line)]
    pen = ImageDraw.Draw(mask)
    pen.polygon([(0, mask.height), *points, (mask.width, mask.height)], fill=255)
    if firs is not None:
        _firs(pen, points, height, firs)
    mask = mask.reduce(2)
    depth = min(0.999, 0.3 * height / (height - top) + 0.12)
    stops = [(0.0, colour), (0.12, colour), (depth, mix(colour, fade, 0.62)), (1.0, mix(colour, fade, 0.62))]
    image.paste(gradient(mask.size, stops), (0, top), mask)
    if cap is not None:
        _caps(image, points, top, cap, mix(cap, colour, 0.55), level, line)


def _caps(
    image: Image.Image,
    points: Sequence[tuple[float, float]],
    top: int,
    bright: Rgb,
    dim: Rgb,
    level: int,
    line: Sequence[float],
) -> None:
    """Snow on the parts of a ridge above its mean, with a ragged lower edge."""
    height = image.height
    snowline = (level + (min(line) * 0.35 + sum(line) / len(line) * 0.65) * height - top) * 2
    high = [(x, y) for x, y in points]
    lower = [
        (x, max(y, min(snowline, y + (snowline - y) * (0.55 if i % 2 else 0.95))))
        for i, (x, y) in enumerate(high)
    ]
    mask = Image.new("L", (image.width * 2, max(2, round(snowline) + 4)))
    ImageDraw.Draw(mask).polygon([*high, *reversed(lower)], fill=225)
    mask = mask.reduce(2)
    image.paste(gradient(mask.size, [(0, bright), (0.5, bright), (1, dim)]), (0, top), mask)


def _firs(
    pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], height: int, chance: random.Random
) -> None:
    for (ax, ay), (bx, by) in itertools.pairwise(points):
        for _ in range(2):
            share = chance.random()
            x, y = ax + (bx - ax) * share, ay + (by - ay) * share + 6
            tall = height * chance.uniform(0.06, 0.15)
            for tier in range(3):
                wide = tall * (0.13 + 0.06 * tier)
                base = y - tall * (0.62 - 0.3 * tier)
                pen.polygon([(x - wide, base), (x, base - tall * 0.5), (x + wide, base)], fill=255)


def _water(image: Image.Image, light: Light, near: Rgb, horizon: int, chance: random.Random) -> None:
    width, height = image.size
    deep = shade(near, -0.35)
    sea = gradient((width, height - horizon), [(0, mix(near, light.haze, 0.6)), (0.3, near), (1, deep)])
    sky = ImageOps.flip(image.crop((0, max(0, 2 * horizon - height), width, horizon))).resize(sea.size)
    sea = Image.blend(sea, sky.filter(ImageFilter.BoxBlur(6)), 0.3)
    pen = ImageDraw.Draw(sea)
    for _ in range(260):
        depth = chance.random() ** 1.6
        y, x = depth * sea.height, chance.random() * width
        long = (0.01 + depth * 0.09) * width * chance.uniform(0.4, 1)
        colour = mix(light.haze if chance.random() < 0.6 else deep, near, 0.35 + 0.3 * chance.random())
        pen.line((x - long, y, x + long, y), fill=colour, width=max(1, round(depth * height / 340)))
    image.paste(sea, (0, horizon))


def _skyline(
    image: Image.Image, colour: Rgb, light: Light, level: int, tall: float, chance: random.Random
) -> None:
    width, height = image.size
    pen = ImageDraw.Draw(image)
    lit = 0.45 if light.night else 0.12
    x = -10.0
    while x < width:
        wide = width * chance.uniform(0.035, 0.085)
        top = level - height * tall * chance.uniform(0.35, 1.0)
        pen.rectangle((x, top, x + wide, height), fill=mix(colour, light.haze, chance.uniform(0, 0.18)))
        if chance.random() < 0.25:
            pen.line((x + wide / 2, top - height * 0.04, x + wide / 2, top), fill=colour, width=3)
        step = max(7, round(min(width, height) / 64))
        for wy in range(round(top) + step, level + step * 6, step):
            for wx in range(round(x) + step // 2, round(x + wide) - step // 2, step):
                if chance.random() < lit:
                    pen.rectangle((wx, wy, wx + step // 3, wy + step // 2), fill=(255, 214, 134))
        x += wide * chance.uniform(1.0, 1.15)
