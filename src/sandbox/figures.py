"""Figures of the sketches: animals, houses, boats, drawn in a box of 100 by 100 with soft outlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from src.sandbox.scene import Rgb

Point = tuple[float, float]
# Room for what sticks out of the box: ears, towers, tails.
_MARGIN = 7


class Pen:
    """Draws in units of a hundredth of the box, y downwards; everything is tinted by the light."""

    def __init__(self, side: int, light: Callable[[Rgb], Rgb]) -> None:
        self.image = Image.new("RGBA", (side, side))
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / (100 + 2 * _MARGIN)
        self._light = light

    def shape(self, points: Sequence[Point], colour: Rgb, *, sharp: bool = False) -> None:
        corners = list(points) if sharp else _smooth(points)
        self._draw.polygon(self._placed(corners), fill=self._light(colour))

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Rgb) -> None:
        corners = self._placed([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.ellipse(corners, fill=self._light(colour))

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb, *, glow: bool = False) -> None:
        corners = self._placed([(x0, y0), (x1, y1)])
        self._draw.rectangle(corners, fill=colour if glow else self._light(colour))

    def leg(self, x: float, y0: float, y1: float, width: float, colour: Rgb) -> None:
        corners = self._placed([(x - width / 2, y0), (x + width / 2, y1)])
        self._draw.rounded_rectangle(corners, width / 2 * self._unit, fill=self._light(colour))

    def line(self, points: Sequence[Point], width: float, colour: Rgb) -> None:
        thick = max(1, round(width * self._unit))
        self._draw.line(self._placed(points), fill=self._light(colour), width=thick, joint="curve")

    def _placed(self, points: Sequence[Point]) -> list[Point]:
        return [((x + _MARGIN) * self._unit, (y + 2 * _MARGIN) * self._unit) for x, y in points]


def _smooth(points: Sequence[Point]) -> list[Point]:
    """Chaikin's corner cutting, three times: a polygon becomes a soft outline."""
    current = list(points)
    for _ in range(3):
        following = current[1:] + current[:1]
        current = [
            point
            for (ax, ay), (bx, by) in zip(current, following, strict=True)
            for point in (
                (0.75 * ax + 0.25 * bx, 0.75 * ay + 0.25 * by),
                (0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by),
            )
        ]
    return current


def shade(colour: Rgb, by: float) -> Rgb:
    """Lighter (by > 0, towards white) or darker (by < 0, towards black)."""
    goal = 255 if by > 0 else 0
    r, g, b = (round(c + (goal - c) * abs(by)) for c in colour)
    return r, g, b


_DARK: Rgb = (38, 32, 34)
_CREAM: Rgb = (246, 236, 220)
_LAMP: Rgb = (255, 214, 128)


def _fox(pen: Pen, c: Rgb) -> None:
    pen.shape([(40, 96), (16, 99), (2, 86), (4, 66), (16, 52), (24, 62), (25, 76), (42, 80)], shade(c, -0.12))
    pen.shape([(4, 74), (4, 62), (16, 49), (23, 60), (18, 68), (12, 70)], _CREAM)
    pen.shape([(34, 98), (30, 76), (38, 54), (52, 40), (66, 44), (72, 62), (72, 98)], c)
    pen.shape([(56, 50), (70, 50), (73, 74), (66, 86), (58, 70)], _CREAM)
    pen.shape([(32, 98), (30, 84), (40, 72), (54, 80), (56, 98)], shade(c, -0.08))
    for x in (62, 70):
        pen.leg(x, 66, 98, 7, c)
        pen.leg(x, 86, 98, 7, _DARK)
    pen.shape([(46, 31), (42, 4), (60, 20)], shade(c, -0.1))
    pen.shape([(47, 25), (45, 11), (55, 20)], _DARK)
    pen.shape([(60, 24), (69, 3), (75, 29)], shade(c, -0.1))
    pen.shape([(64, 22), (69, 9), (72, 25)], _DARK)
    pen.shape(
        [(42, 40), (44, 22), (58, 16), (74, 22), (84, 34), (97, 43), (94, 48), (78, 52), (60, 54), (48, 52)],
        c,
    )
    pen.shape([(44, 44), (58, 42), (72, 42), (96, 43), (94, 48), (78, 53), (60, 56), (46, 54)], _CREAM)
    pen.oval(94.5, 43.5, 2.6, 2.2, _DARK)
    pen.oval(73, 35, 2.3, 2.6, _DARK)
    pen.oval(73.7, 34.2, 0.8, 0.8, (255, 255, 255))


def _cat(pen: Pen, c: Rgb) -> None:
    pen.shape(
        [(62, 98), (90, 99), (98, 82), (90, 60), (96, 48), (84, 46), (80, 62), (86, 80), (80, 90), (60, 88)],
        shade(c, -0.15),
    )
    pen.shape([(24, 99), (22, 76), (34, 50), (50, 42), (66, 50), (78, 76), (76, 99)], c)
    pen.shape([(40, 56), (60, 56), (62, 80), (50, 90), (38, 80)], shade(c, 0.3))
    for x in (42, 58):
        pen.leg(x, 64, 99, 10, shade(c, 0.06))
        pen.oval(x, 97, 7, 3.6, shade(c, 0.3))
    for sign in (-1, 1):
        pen.shape([(50 + 25 * sign, 32), (50 + 23 * sign, 0), (50 + 4 * sign, 16)], c)
        pen.shape([(50 + 21 * sign, 25), (50 + 20 * sign, 8), (50 + 9 * sign, 17)], (226, 150, 146))
    pen.oval(50, 33, 26, 21, c)
    for x in (44, 50, 56):
        pen.shape([(x - 1.5, 12), (x + 1.5, 12), (x + (50 - x) * 0.2, 21)], shade(c, -0.3))
    pen.oval(50, 42, 10, 7, shade(c, 0.4))
    for sign in (-1, 1):
        pen.oval(50 + 11 * sign, 32, 5, 5.2, (214, 200, 92))
        pen.oval(50 + 11 * sign, 32, 1.7, 4.6, _DARK)
        pen.oval(50 + 11 * sign + 1.2, 30, 1.1, 1.1, (255, 255, 255))
        for dy in (-2, 1, 4):
            pen.line([(50 + 9 * sign, 41 + dy * 0.4), (50 + 32 * sign, 40 + dy * 1.6)], 0.5, shade(c, 0.6))
    pen.shape([(46.5, 38), (53.5, 38), (50, 42.5)], (206, 116, 116))
    pen.line([(45, 45), (50, 43), (55, 45)], 0.8, _DARK)


def _dog(pen: Pen, c: Rgb) -> None:
    pen.shape([(34, 90), (18, 86), (8, 66), (12, 54), (18, 64), (26, 74), (40, 78)], c)
    pen.shape([(30, 98), (28, 76), (38, 54), (52, 44), (68, 48), (72, 66), (70, 98)], c)
    pen.shape([(54, 54), (69, 54), (71, 78), (62, 84)], _CREAM)
    pen.shape([(28, 98), (28, 84), (40, 72), (54, 80), (56, 98)], shade(c, -0.1))
    for x in (60, 69):
        pen.leg(x, 66, 98, 8, c)
        pen.oval(x + 1, 96.5, 6, 3, _CREAM)
    pen.shape(
        [(40, 40), (42, 20), (56, 12), (72, 18), (78, 30), (94, 34), (96, 44), (88, 52), (68, 56), (50, 54)],
        c,
    )
    pen.shape([(72, 36), (92, 34), (96, 44), (88, 52), (70, 54)], _CREAM)
    pen.shape([(46, 14), (36, 18), (30, 36), (36, 50), (44, 44), (52, 24)], shade(c, -0.35))
    pen.oval(93, 37, 3.6, 3, _DARK)
    pen.oval(69, 29, 2.5, 2.8, _DARK)
    pen.oval(69.8, 28.2, 0.8, 0.8, (255, 255, 255))
    pen.line([(94, 46), (84, 48), (78, 46)], 0.9, _DARK)
    pen.shape([(46, 52), (68, 55), (68, 60), (46, 58)], (188, 60, 60))


def _rabbit(pen: Pen, c: Rgb) -> None:
    pen.oval(80, 84, 9, 9, _CREAM)
    pen.shape([(26, 99), (24, 78), (36, 58), (54, 54), (72, 62), (80, 82), (74, 99)], c)
    pen.oval(48, 82, 15, 16, shade(c, 0.35))
    for x, tilt in ((40, -7), (54, 5)):
        pen.shape([(x - 5, 42), (x - 9 + tilt, 12), (x + tilt, -3), (x + 7 + tilt, 12), (x + 6, 42)], c)
        pen.shape(
            [(x - 2, 38), (x - 5 + tilt, 14), (x + tilt, 5), (x + 3 + tilt, 14), (x + 3, 38)], (226, 160, 156)
        )
    pen.oval(47, 48, 21, 17, c)
    pen.oval(47, 55, 11, 8, shade(c, 0.45))
    for sign in (-1, 1):
        pen.oval(47 + 10 * sign, 45, 2.7, 3.2, _DARK)
        pen.oval(47 + 10 * sign + 0.9, 44, 0.9, 0.9, (255, 255, 255))
        pen.oval(47 + 12 * sign, 97, 11, 4, shade(c, 0.12))
    pen.shape([(44, 51), (50, 51), (47, 54.5)], (206, 116, 116))


def _bear(pen: Pen, c: Rgb) -> None:
    pen.shape([(14, 99), (12, 72), (24, 46), (50, 38), (76, 46), (88, 72), (86, 99)], c)
    pen.oval(50, 76, 22, 22, shade(c, 0.18))
    for sign in (-1, 1):
        pen.oval(50 + 19 * sign, 12, 9, 9, c)
        pen.oval(50 + 19 * sign, 13, 5, 5, shade(c, -0.35))
        pen.oval(50 + 30 * sign, 94, 13, 6, shade(c, -0.12))
        pen.shape(
            [(50 + 26 * sign, 52), (50 + 38 * sign, 60), (50 + 34 * sign, 86), (50 + 22 * sign, 84)],
            shade(c, -0.1),
        )
    pen.oval(50, 30, 27, 23, c)
    pen.oval(50, 39, 13, 10, shade(c, 0.45))
    pen.oval(50, 34, 4.8, 3.2, _DARK)
    pen.line([(50, 36), (50, 42), (45, 44)], 1, _DARK)
    pen.line([(50, 42), (55, 44)], 1, _DARK)
    for sign in (-1, 1):
        pen.oval(50 + 12 * sign, 25, 2.4, 2.7, _DARK)
        pen.oval(50 + 12 * sign + 0.8, 24.2, 0.8, 0.8, (255, 255, 255))


def _deer(pen: Pen, c: Rgb) -> None:
    for x in (27, 36, 58, 66):
        pen.leg(x, 62, 99, 4.6, shade(c, -0.25 if x in (36, 66) else -0.05))
        pen.leg(x, 95, 99, 4.8, _DARK)
    pen.shape([(18, 64), (20, 50), (40, 46), (62, 46), (72, 54), (70, 68), (52, 72), (26, 72)], c)
    pen.shape([(26, 70), (50, 68), (66, 66), (52, 73)], _CREAM)
    pen.oval(18, 56, 4, 5, _CREAM)
    pen.shape([(58, 56), (64, 40), (70, 24), (80, 26), (78, 44), (73, 60)], c)
    pen.shape([(66, 30), (70, 18), (82, 18), (96, 30), (94, 35), (82, 35), (72, 38)], c)
    pen.shape([(68, 22), (57, 16), (66, 27)], shade(c, -0.15))
    for dx, height in ((0, 0), (7, 2)):
        pen.line([(73 + dx, 20), (68 + dx, 8 + height), (71 + dx, -2 + height)], 1.7, (120, 92, 66))
        pen.line([(69.5 + dx, 12), (61 + dx, 3 + height)], 1.5, (120, 92, 66))
        pen.line([(69 + dx, 8), (77 + dx, 0 + height)], 1.5, (120, 92, 66))
    pen.oval(94.5, 31, 2.2, 2, _DARK)
    pen.oval(80, 25, 1.8, 2, _DARK)
    for x, y in ((34, 54), (42, 51), (50, 54), (40, 59), (57, 52)):
        pen.oval(x, y, 1.5, 1.3, _CREAM)


def _owl(pen: Pen, c: Rgb) -> None:
    pen.shape([(24, 98), (16, 66), (20, 26), (32, 12), (68, 12), (80, 26), (84, 66), (76, 98)], c)
    pen.oval(50, 72, 21, 26, shade(c, 0.35))
    for row in range(4):
        for x in range(-1, 2):
            pen.shape(
                [(46 + x * 11, 58 + row * 9), (54 + x * 11, 58 + row * 9), (50 + x * 11, 65 + row * 9)],
                shade(c, 0.05),
            )
    for sign in (-1, 1):
        pen.shape(
            [(50 + 32 * sign, 40), (50 + 37 * sign, 62), (50 + 27 * sign, 92), (50 + 19 * sign, 62)],
            shade(c, -0.25),
        )
        pen.shape([(50 + 31 * sign, 24), (50 + 29 * sign, 0), (50 + 12 * sign, 15)], c)
        pen.oval(50 + 13 * sign, 30, 14, 14, shade(c, 0.5))
        pen.oval(50 + 13 * sign, 30, 9, 9, (236, 180, 66))
        pen.oval(50 + 13 * sign, 30, 5, 5, _DARK)
        pen.oval(50 + 13 * sign + 2, 28, 1.6, 1.6, (255, 255, 255))
        pen.oval(50 + 10 * sign, 97, 5, 2.6, (226, 160, 70))
    pen.shape([(45, 34), (55, 34), (50, 46)], (226, 160, 70))


def _bird(pen: Pen, c: Rgb) -> None:
    pen.line([(48, 84), (46, 98), (52, 98)], 1.4, _DARK)
    pen.line([(56, 84), (56, 98), (62, 98)], 1.4, _DARK)
    pen.shape([(34, 66), (2, 84), (6, 92), (40, 80)], shade(c, -0.3))
    pen.shape([(26, 72), (36, 46), (54, 26), (72, 22), (82, 34), (80, 58), (66, 82), (44, 88)], c)
    pen.shape([(62, 48), (80, 46), (78, 62), (64, 82), (50, 82)], _CREAM)
    pen.shape([(22, 78), (38, 48), (58, 52), (58, 68), (40, 82)], shade(c, -0.2))
    pen.shape([(80, 30), (97, 36), (81, 40)], (226, 160, 70))
    pen.oval(72, 32, 2.5, 2.7, _DARK)
    pen.oval(72.8, 31.2, 0.8, 0.8, (255, 255, 255))


def _whale(pen: Pen, c: Rgb) -> None:
    pen.shape(
        [(22, 62), (4, 40), (0, 24), (14, 30), (20, 38), (28, 26), (40, 24), (32, 44), (34, 58)],
        shade(c, -0.08),
    )
    pen.shape([(18, 54), (36, 52), (58, 40), (84, 44), (99, 62), (94, 80), (66, 88), (36, 82)], c)
    pen.shape([(40, 80), (66, 72), (97, 68), (93, 80), (66, 88)], shade(c, 0.6))
    pen.oval(82, 62, 1.9, 2.1, _DARK)
    pen.shape([(56, 74), (50, 94), (64, 88), (68, 76)], shade(c, -0.15))
    for bend in (-1, 1):
        pen.line(
            [(74, 40), (74 + 2 * bend, 26), (74 + 9 * bend, 18), (74 + 15 * bend, 22)], 1.8, (226, 240, 250)
        )


def _boat(pen: Pen, c: Rgb) -> None:
    pen.line([(50, 4), (50, 78)], 1.6, (110, 82, 60))
    pen.shape([(52, 6), (84, 68), (52, 68)], _CREAM, sharp=True)
    pen.shape([(48, 16), (48, 68), (20, 68)], shade(_CREAM, -0.12), sharp=True)
    pen.shape([(52, 50), (74.7, 50), (80, 60), (52, 60)], c, sharp=True)
    pen.shape([(10, 76), (90, 76), (78, 92), (24, 92)], (128, 80, 54), sharp=True)
    pen.shape([(10, 76), (90, 76), (88, 79), (12, 79)], _CREAM, sharp=True)


def _balloon(pen: Pen, c: Rgb) -> None:
    pen.shape([(50, -4), (86, 2), (92, 36), (66, 62), (56, 74), (44, 74), (34, 62), (8, 36), (14, 2)], c)
    pen.shape(
        [(50, -2), (72, 4), (76, 36), (60, 62), (54, 73), (46, 73), (40, 62), (24, 36), (28, 4)], _CREAM
    )
    pen.shape([(50, -2), (60, 4), (62, 36), (55, 62), (52, 73), (48, 73), (45, 62), (38, 36), (40, 4)], c)
    for x in (45, 55):
        pen.line([(x, 71), (50 + (x - 50) * 0.8, 86)], 0.6, _DARK)
    pen.box(44.5, 86, 55.5, 96, (138, 94, 58))


def _rocket(pen: Pen, c: Rgb) -> None:
    pen.shape([(42, 78), (58, 78), (56, 90), (50, 104), (44, 90)], (255, 170, 70))
    pen.shape([(46, 78), (54, 78), (53, 87), (50, 95), (47, 87)], (255, 240, 180))
    for sign in (-1, 1):
        pen.shape(
            [(50 + 12 * sign, 52), (50 + 30 * sign, 74), (50 + 28 * sign, 86), (50 + 10 * sign, 74)],
            shade(c, -0.15),
        )
    pen.shape([(50, -6), (66, 18), (69, 50), (60, 80), (40, 80), (31, 50), (34, 18)], (232, 232, 236))
    pen.shape([(50, -6), (60, 10), (63, 22), (37, 22), (40, 10)], c)
    pen.oval(50, 38, 9, 9, c)
    pen.oval(50, 38, 6.4, 6.4, (150, 206, 236))


def _house(pen: Pen, c: Rgb) -> None:
    pen.box(66, 12, 75, 36, (122, 84, 74))
    pen.box(16, 46, 84, 99, shade(_CREAM, -0.06))
    pen.shape([(6, 50), (50, 12), (94, 50)], c, sharp=True)
    pen.shape([(6, 50), (50, 12), (50, 17), (14, 50)], shade(c, 0.2), sharp=True)
    pen.box(44, 70, 58, 99, (116, 76, 54))
    for x in (24, 66):
        pen.box(x, 60, x + 13, 76, _LAMP, glow=True)
        pen.box(x + 6, 60, x + 7, 76, (116, 76, 54))
        pen.box(x, 67.5, x + 13, 68.5, (116, 76, 54))
    pen.oval(50, 38, 4.5, 4.5, _LAMP)


def _lighthouse(pen: Pen, c: Rgb) -> None:
    def band(top: float, low: float, colour: Rgb) -> None:
        """Of the tower, which gets wider downwards."""
        a, b = (8 + 7 * (y - 28) / 71 for y in (top, low))
        pen.shape([(50 - a, top), (50 + a, top), (50 + b, low), (50 - b, low)], colour, sharp=True)

    band(28, 99, _CREAM)
    for top, low in ((36, 48), (60, 72), (84, 99)):
        band(top, low, c)
    pen.box(38, 24, 62, 28, _DARK)
    pen.box(43, 11, 57, 24, _LAMP, glow=True)
    pen.shape([(40, 11), (50, 1), (60, 11)], shade(c, -0.1), sharp=True)
    pen.box(47, 50, 53, 58, _LAMP, glow=True)


def _castle(pen: Pen, c: Rgb) -> None:
    stone: Rgb = (168, 162, 158)
    for x, top in ((6, 34), (76, 34), (40, 16)):
        pen.box(x, top, x + 18, 99, shade(stone, -0.1 if x != 40 else 0.08))
        pen.shape([(x - 4, top + 1), (x + 9, top - 26), (x + 22, top + 1)], c, sharp=True)
        pen.box(x + 7, top + 12, x + 11, top + 20, _LAMP, glow=True)
    pen.box(18, 56, 82, 99, stone)
    for x in range(18, 82, 10):
        pen.box(x, 50, x + 6, 57, stone)
    pen.oval(50, 84, 9, 12, (92, 66, 52))
    pen.box(41, 84, 59, 99, (92, 66, 52))


def _person(pen: Pen, c: Rgb) -> None:
    for x in (45, 55):
        pen.leg(x, 66, 98, 7.5, (62, 62, 78))
        pen.oval(x + 1, 97, 5.4, 2.6, _DARK)
    pen.shape([(34, 78), (36, 40), (42, 29), (58, 29), (64, 40), (66, 78)], c)
    pen.shape([(37, 36), (27, 60), (31, 64), (42, 46)], shade(c, -0.12))
    pen.shape([(63, 36), (73, 60), (69, 64), (58, 46)], shade(c, -0.12))
    pen.shape([(38, 30), (62, 30), (64, 36), (36, 36)], shade(c, 0.35))
    pen.oval(50, 18, 10, 11.5, (226, 184, 156))
    pen.shape([(38, 22), (38, 6), (50, 1), (62, 6), (62, 20), (56, 12), (44, 13)], (86, 60, 48))


def _flowers(pen: Pen, c: Rgb) -> None:
    for x, y, r in ((18, 52, 9), (36, 34, 12), (56, 46, 10), (74, 30, 12), (88, 56, 8)):
        pen.line([(50 + (x - 50) * 0.7, 99), (x, y)], 1.3, (76, 124, 76))
        pen.shape([(50 + (x - 50) * 0.8, 86), (x + 7, 74), (x + 9, 66), (x, 74)], (92, 142, 84))
        for dx, dy in (
            (-0.8, 0),
            (0.8, 0),
            (0, -0.8),
            (0, 0.8),
            (-0.6, -0.6),
            (0.6, 0.6),
            (-0.6, 0.6),
            (0.6, -0.6),
        ):
            pen.oval(x + dx * r, y + dy * r, r * 0.5, r * 0.5, shade(c, 0.12 if dx > 0 else 0))
        pen.oval(x, y, r * 0.48, r * 0.48, (240, 196, 84))


def _tree(pen: Pen, c: Rgb) -> None:
    pen.shape([(44, 99), (46, 60), (44, 40), (56, 40), (54, 60), (57, 99)], (104, 76, 58))
    for x, y, r, by in ((32, 48, 20, -0.12), (68, 48, 20, -0.12), (50, 52, 20, -0.06), (38, 30, 20, 0), (62, 28, 20, 0.06), (50, 16, 17, 0.12)):  # fmt: skip
        pen.oval(x, y, r, r * 0.9, shade(c, by))


# Each with its own colour, its height as a share of the picture's shorter side, and whether it flies.
FIGURES: dict[str, tuple[Callable[[Pen, Rgb], None], Rgb, float, bool]] = {
    "fox": (_fox, (214, 104, 44), 0.44, False),
    "cat": (_cat, (112, 104, 108), 0.44, False),
    "dog": (_dog, (178, 132, 84), 0.44, False),
    "rabbit": (_rabbit, (176, 160, 146), 0.38, False),
    "bear": (_bear, (124, 86, 60), 0.5, False),
    "deer": (_deer, (166, 114, 72), 0.52, False),
    "owl": (_owl, (140, 110, 84), 0.4, False),
    "bird": (_bird, (84, 128, 178), 0.32, False),
    "whale": (_whale, (74, 108, 142), 0.5, False),
    "boat": (_boat, (196, 84, 70), 0.46, False),
    "balloon": (_balloon, (206, 84, 76), 0.44, True),
    "rocket": (_rocket, (204, 76, 70), 0.52, True),
    "house": (_house, (158, 82, 66), 0.42, False),
    "lighthouse": (_lighthouse, (190, 66, 58), 0.62, False),
    "castle": (_castle, (92, 104, 142), 0.56, False),
    "person": (_person, (70, 104, 140), 0.5, False),
    "flowers": (_flowers, (208, 96, 124), 0.42, False),
    "tree": (_tree, (96, 140, 86), 0.6, False),
}
