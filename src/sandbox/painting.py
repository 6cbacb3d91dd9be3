"""Paints a scene, or changes a picture towards one: landscape, figures, weather, grain, caption.

Pillow only, about 100 ms of CPU for a megapixel.
"""

from __future__ import annotations

import functools
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, ImageOps

from src.sandbox.figures import FIGURES, Pen, shade
from src.sandbox.landscape import Light, land, light_of, mix, sky
from src.sandbox.scene import Rgb, Scene


def paint(scene: Scene, size: tuple[int, int], chance: random.Random, *, grain: bool = True) -> Image.Image:
    """The scene as an RGB picture of exactly this size; without grain it encodes to a third of the bytes."""
    light = light_of(scene)
    image = sky(scene, light, size, chance)
    horizon = round(size[1] * (0.56 if scene.place in ("sea", "city") else 0.6))
    ground = land(image, scene, light, horizon, chance)
    _figures(image, scene, light, ground, chance)
    _weather(image, scene, light, chance)
    return _grained(image) if grain else image


def retouch(image: Image.Image, scene: Scene, chance: random.Random) -> Image.Image:
    """A person's picture changed towards the scene, so that one still sees where it came from."""
    light = light_of(scene)
    if scene.style == "pencil":
        edges = ImageOps.invert(image.convert("L").filter(ImageFilter.FIND_EDGES))
        image = Image.blend(ImageOps.autocontrast(edges).convert("RGB"), image, 0.15)
    elif scene.style == "black and white":
        image = ImageOps.autocontrast(image.convert("L"), cutoff=1).convert("RGB")
    elif scene.style == "pixels":
        small = image.resize((image.width // 16, image.height // 16)).quantize(32).convert("RGB")
        image = small.resize(image.size, Image.Resampling.NEAREST)
    else:
        if scene.style == "painting":
            image = image.filter(ImageFilter.MedianFilter(7))
            image = Image.blend(image, image.filter(ImageFilter.EMBOSS), 0.12)
        dark, bright = mix(light.top, (0, 0, 0), 0.55), mix(light.haze, (255, 255, 255), 0.4)
        toned = ImageOps.colorize(image.convert("L"), dark, bright, mid=light.middle)
        image = Image.blend(image, toned, 0.7 if scene.time == "night" else 0.42)
    _figures(image, scene, light, light.top, chance)
    _weather(image, scene, light, chance)
    return _grained(image)


def caption(image: Image.Image, text: str) -> None:
    """An honest line in the lower left corner."""
    width, height = image.size
    font = _font(max(12, round(min(width, height) / 46)))
    box = ImageDraw.Draw(image).textbbox((0, 0), text, font=font)
    pad = round(min(width, height) / 90)
    plate = Image.new("L", (round(box[2]) + 2 * pad, round(box[3]) + 2 * pad))
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, plate.width - 1, plate.height - 1), pad, fill=105)
    at = (2 * pad, height - plate.height - 2 * pad)
    image.paste((12, 14, 22), at, plate)
    ImageDraw.Draw(image).text((at[0] + pad, at[1] + pad), text, font=font, fill=(246, 244, 238))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _figures(image: Image.Image, scene: Scene, light: Light, ground: Rgb, chance: random.Random) -> None:
    width, height = image.size
    places = (0.5,) if len(scene.subjects) == 1 else (0.33, 0.7)
    for index, (name, share) in enumerate(zip(scene.subjects, places, strict=False)):
        draw, colour, tall, flies = FIGURES[name]
        side = round(min(width, height) * tall * (1 if index == 0 else 0.88))
        if name == "tree" and scene.weather == "autumn":
            colour = (206, 120, 52)
        pen = Pen(side * 2, light.on)
        draw(pen, scene.colour if scene.colour and index == 0 else colour)
        figure = pen.image.reduce(2)
        if name not in ("house", "lighthouse", "castle", "boat") and chance.random() < 0.5:
            figure = ImageOps.mirror(figure)
        x = round(width * (share + chance.uniform(-0.05, 0.05)) - side / 2)
        y = round(height * 0.08 if flies else height * 0.93 - side)
        afloat = scene.place == "sea" and name in ("boat", "whale")
        if afloat:
            y = round(height * 0.6 - side * 0.6)
        if not flies and not afloat:
            _shadow(image, ground, light, x + side // 2, y + side, side)
        image.paste(figure, (x, y), figure)
        if afloat:
            _mirrored(image, figure, x, y + round(side * 0.9))


def _shadow(image: Image.Image, ground: Rgb, light: Light, x: int, y: int, side: int) -> None:
    small = Image.new("L", (48, 16))
    ImageDraw.Draw(small).ellipse((8, 4, 40, 12), fill=150)
    soft = small.filter(ImageFilter.GaussianBlur(2)).resize((round(side * 1.3), round(side * 0.3)))
    image.paste(shade(ground, -0.55), (x - soft.width // 2, y - soft.height // 2), soft)


def _mirrored(image: Image.Image, figure: Image.Image, x: int, y: int) -> None:
    upside = ImageOps.flip(figure).resize((figure.width, figure.height // 2))
    faint = upside.getchannel("A").point(lambda v: v // 4)
    image.paste(upside.convert("RGB").filter(ImageFilter.BoxBlur(3)), (x, y), faint)


def _weather(image: Image.Image, scene: Scene, light: Light, chance: random.Random) -> None:
    width, height = image.size
    unit = min(width, height) / 1024
    if scene.weather == "fog":
        small = Image.new("L", (32, 32))
        pen = ImageDraw.Draw(small)
        for _ in range(7):
            y = chance.uniform(12, 30)
            pen.ellipse((chance.uniform(-16, 12), y - 3, chance.uniform(20, 48), y + 3), fill=150)
        image.paste(
            mix(light.haze, (255, 255, 255), 0.3),
            (0, 0),
            small.filter(ImageFilter.GaussianBlur(3)).resize((width, height)),
        )
        return
    if scene.weather not in ("snow", "rain", "autumn"):
        return
    flakes = Image.new("L", (width, height))
    pen = ImageDraw.Draw(flakes)
    for _ in range(260 if scene.weather == "snow" else 110 if scene.weather == "rain" else 46):
        x, y, near = chance.random() * width, chance.random() * height, chance.random() ** 3
        if scene.weather == "rain":
            long = (18 + 40 * near) * unit
            pen.line(
                (x, y, x - long * 0.25, y + long), fill=80 + round(90 * near), width=max(1, round(2 * unit))
            )
        else:
            r = (1.4 + 5.5 * near) * unit * (1.5 if scene.weather == "autumn" else 1)
            pen.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), fill=230 - round(80 * near))
    colour = {"snow": (255, 255, 255), "rain": (220, 230, 240), "autumn": (214, 120, 48)}[scene.weather]
    image.paste(colour, (0, 0), flakes.filter(ImageFilter.BoxBlur(1)))


@functools.cache
def _grain() -> Image.Image:
    """A tile of grain around middle grey."""
    chance = random.Random(7)
    tile = Image.frombytes(
        "L", (256, 256), bytes(min(255, max(0, round(chance.gauss(128, 3.2)))) for _ in range(65_536))
    )
    return Image.merge("RGB", (tile, tile, tile))


def _grained(image: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", image.size)
    for x in range(0, image.width, 256):
        for y in range(0, image.height, 256):
            sheet.paste(_grain(), (x, y))
    return ImageChops.soft_light(image, sheet)
