"""What a prompt asks for, as far as the sketcher understands: English and Russian words, some emoji.

Understanding is a table of word stems, nothing more; the picture's caption names what was understood.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

Rgb = tuple[int, int, int]

_TIMES = {
    "night": r"night|midnight|moon|stars?\b|starry|ноч|лун[аыуе]|лунн|звёзд|звезд|🌙|🌃|🌌",
    "sunset": r"sunset|dusk|evening|golden hour|закат|вечер|сумерк|🌇|🌆",
    "dawn": r"dawn|sunrise|morning|рассвет|утр[оаеу]|восход|🌅|🌄",
    "day": r"\bday|noon|sunny|\bsun\b|полдень|полдн|солнеч|солнц|\bдень\b|\bднём\b|\bднем\b|☀",
}
_PLACES = {
    "space": r"space\b|galaxy|planet|cosmos|космос|косми|галактик|планет|🪐",
    "city": r"cit(?:y|ies)|town|street|skyline|tokyo|paris|moscow|london|new york|город|улиц|москв|токио|париж|🏙",
    "sea": r"\bsea|ocean|beach|lake|river|wave|island|\bмор[еяюс]|океан|пляж|озер|озёр|\bрек[аиуе]\b|волн|остров|🌊|🏖",
    "mountains": r"mountain|alps|peak|cliff|\bгор[аыуе]\b|\bгорах|\bгорн|вершин|альп|скал[аыу]|🏔|⛰",
    "forest": r"forest|woods?\b|jungle|taiga|\bлес[ауео]?м?\b|лесн|тайг|джунгл|роща|🌲|🌳",
    "desert": r"desert|dunes?|sahara|cactus|пустын|дюн|сахар[аеу]|🏜|🌵",
    "field": r"field|meadow|garden|park|hill|\bпол[еяю]\b|\bлуг|сад[уе]?\b|парк|холм|🌾|🌷",
}
_WEATHERS = {
    "snow": r"snow|winter|frost|\bice\b|снег|снеж|зим[аыоуен]|мороз|метел|❄|⛄",
    "rain": r"rain|storm|дожд|ливен|гроз[аыу]|🌧|⛈",
    "fog": r"fog|mist|haze|туман|дымк|🌫",
    "autumn": r"autumn|\bfall\b|осен|листопад|🍂|🍁",
}
_SUBJECTS = {
    "fox": r"\bfox|\bлис(?:а|ы|у|е|ой|ица|ицы|ицу|ёнок|енок|ёнка|ята)\b|🦊",
    "cat": r"\bcats?\b|kitten|kitty|\bкот(?:а|у|ом|е|ы|ик|ика|ики|ёнок|енок|ёнка|ята|ов)?\b|кошк|кошеч|🐱|🐈|😺",
    "dog": r"\bdogs?\b|pupp|corgi|\bwolf|собак|\bпёс\b|\bпес\b|щен[оея]|корги|\bволк|🐶|🐕|🐺",
    "rabbit": r"rabbit|bunny|\bhare|кролик|\bзая?[йц]|🐰|🐇",
    "bear": r"\bbears?\b|panda|teddy|медвед|мишк|панд[аыу]|🐻|🐼",
    "deer": r"\bdeer|\belk\b|moose|олен|\bлос[ья]\b|🦌",
    "owl": r"\bowl|\bсов[аыуео]|филин|🦉",
    "bird": r"\bbird|sparrow|raven|\bcrow\b|eagle|птиц|птич|воробе|ворон|орёл|орел|синиц|🐦",
    "whale": r"whale|dolphin|\bкит(?:а|у|ом|ы)?\b|дельфин|🐋|🐳",
    "boat": r"\bboat|\bship|sail|yacht|лодк|корабл|парус|яхт|⛵|🚢",
    "balloon": r"balloon|воздушн\w+ шар|шарик|🎈",
    "rocket": r"rocket|spaceship|starship|ракет|звездол|🚀",
    "house": r"(?<!light)house|cabin|cottage|hut\b|\bhome\b|\bдом(?:а|ик|ику|ика|е|у)?\b|избушк|хижин|🏠|🏡",
    "lighthouse": r"lighthouse|маяк",
    "castle": r"castle|tower|palace|fortress|замок|замк|башн|дворец|крепост|🏰",
    "person": r"person|\bman\b|woman|girl|\bboy\b|wizard|astronaut|samurai|человек|девушк|девочк|мальчик|"
    r"мужчин|женщин|космонавт|самура|путник|🧑|👩|👨|🧙",
    "flowers": r"flower|rose\b|tulip|sunflower|цвет(?:ы|ок|ов|ами)\b|букет|роз[аыу]?\b|тюльпан|подсолнух|ромашк|🌸|🌹|🌻",
    "tree": r"\btree|\boak|\bpine|дерев|\bдуб|сосн|ёлк|елк|берёз|берез|🎄",
}
_COLOURS: dict[str, tuple[str, Rgb]] = {
    "red": (r"\bred\b|crimson|красн|алый|алая|алые", (200, 60, 50)),
    "orange": (r"orange|ginger|оранж|рыж", (216, 112, 48)),
    "yellow": (r"yellow|golden\b|жёлт|желт|золот", (228, 182, 66)),
    "green": (r"green|emerald|зелён|зелен|изумруд", (84, 146, 92)),
    "blue": (r"\bblue|azure|син(?:ий|яя|ее|ие|его|ей|юю|им)|голуб", (70, 116, 186)),
    "purple": (r"purple|violet|фиолет|сирен|лилов", (132, 92, 168)),
    "pink": (r"pink|розов", (224, 138, 160)),
    "white": (r"\bwhite|бел(?:ый|ая|ое|ые|ого|ой|ую|ым|ых)", (236, 232, 226)),
    "black": (r"\bblack|чёрн|черн(?:ый|ая|ое|ые|ого|ой|ую|ым|ых)", (46, 44, 50)),
    "grey": (r"gr[ea]y|сер(?:ый|ая|ое|ые|ого|ой|ую|ым|ых)\b", (128, 130, 136)),
}
_STYLES = {
    "black and white": r"black.and.white|monochrome|noir|чёрно-бел|черно-бел|\bчб\b|монохром",
    "pencil": r"pencil|line art|drawing|карандаш|рисунок|набросок",
    "painting": r"painting|\boil\b|watercolou?r|impression|маслом|масло|акварел|живопис|картин",
    "pixels": r"pixel|8.bit|пиксел|8.бит",
}
_MAX_SUBJECTS = 2


def _compiled(table: dict[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in table.items()}


_TIME_WORDS, _PLACE_WORDS = _compiled(_TIMES), _compiled(_PLACES)
_WEATHER_WORDS, _SUBJECT_WORDS, _STYLE_WORDS = _compiled(_WEATHERS), _compiled(_SUBJECTS), _compiled(_STYLES)
_COLOUR_WORDS = {name: (re.compile(pattern, re.IGNORECASE), rgb) for name, (pattern, rgb) in _COLOURS.items()}
# Where a subject is at home, when the prompt names no place.
_HOMES = {
    "whale": "sea",
    "boat": "sea",
    "lighthouse": "sea",
    "rocket": "space",
    "owl": "forest",
    "deer": "forest",
    "bear": "forest",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What to sketch.

    Attributes:
        time: day, dawn, sunset or night.
        place: hills, mountains, forest, sea, city, desert, field or space.
        weather: "" or snow, rain, fog, autumn.
        subjects: things in the foreground, the first in the middle.
        colour: of the first subject, or None for its own.
        style: "" or how an edit should look.
        understood: what the prompt itself named, for the caption.
    """

    time: str
    place: str
    weather: str
    subjects: tuple[str, ...]
    colour: Rgb | None
    style: str
    understood: tuple[str, ...]


def read(prompt: str, chance: random.Random) -> Scene:
    """The scene a prompt asks for; what it leaves open is drawn by lot."""
    time = _first(_TIME_WORDS, prompt)
    place = _first(_PLACE_WORDS, prompt)
    weather = _first(_WEATHER_WORDS, prompt)
    style = _first(_STYLE_WORDS, prompt)
    subjects = _all(_SUBJECT_WORDS, prompt)[:_MAX_SUBJECTS]
    colour = next(((name, rgb) for name, (words, rgb) in _COLOUR_WORDS.items() if words.search(prompt)), None)
    named = (*subjects, place, weather, time, style)
    return Scene(
        time or chance.choice(("day", "dawn", "sunset")),
        place
        or (_HOMES.get(subjects[0]) if subjects else None)
        or chance.choice(("hills", "mountains", "field")),
        weather,
        subjects,
        colour[1] if colour else None,
        style,
        ((f"{colour[0]} {named[0]}", *named[1:]) if colour and subjects else named),
    )


def _all(table: dict[str, re.Pattern[str]], prompt: str) -> tuple[str, ...]:
    """Names of the table whose words are in the prompt, in the prompt's order."""
    found = [(match.start(), name) for name, words in table.items() if (match := words.search(prompt))]
    return tuple(name for _, name in sorted(found))


def _first(table: dict[str, re.Pattern[str]], prompt: str) -> str:
    return next(iter(_all(table, prompt)), "")
