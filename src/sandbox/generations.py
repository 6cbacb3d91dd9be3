"""What the providers' stand-ins have in common: how long a generation takes, what was counted, and the
bytes of good and bad pictures.
"""

from __future__ import annotations

import io
import itertools
import random
import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict, Unpack

from aiohttp import web
from PIL import Image

from src.sandbox.faults import Faults
from src.sandbox.pictures import PictureMaker

Durations = tuple[float, float] | Callable[[random.Random], float]
DEMO_DURATIONS: Durations = (4.0, 9.0)
LOAD_DURATIONS: Durations = (20.0, 40.0)

SIZES = {
    "1:1": (1024, 1024),
    "3:2": (1248, 832),
    "2:3": (832, 1248),
    "4:3": (1152, 864),
    "3:4": (864, 1152),
    "4:5": (912, 1136),
    "16:9": (1344, 768),
    "9:16": (768, 1344),
    "21:9": (1536, 656),
}
"""How large a picture of each format is made, where a provider says no more than about a megapixel."""

HUGE_BYTES = 200_000_000
_NOTICED = 100_000
_PIECE = b"\0" * 65_536


def draw(durations: Durations, chance: random.Random) -> float:
    """How long one generation takes, in seconds."""
    return durations(chance) if callable(durations) else chance.uniform(*durations)


@dataclass(slots=True)
class Audit:
    """What a provider could testify to, for tests that count what must not happen twice.

    Attributes:
        submits: requests for a picture that were well-formed, by prompt. sources, masks: the pictures to be
            changed that came with them, and the masks.
        previews: unfinished pictures that were sent, by prompt.
        job_ids: the same by our job id, where the wire carries one.
        charged: generations billed, by prompt.
        refused: refusals by code.
        polls: status questions.
        fetches: downloads of results, by generation.
        uploads: source pictures taken.
        callbacks: callbacks the other side confirmed.
        noticed: seconds from the end of a generation to the first question that learned of it.
        seconds: how long the generation of each prompt took (the last one's, where it was asked for twice).
    """

    submits: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    previews: Counter[str] = field(default_factory=Counter)
    job_ids: Counter[str] = field(default_factory=Counter)
    charged: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    polls: int = 0
    fetches: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    callbacks: int = 0
    noticed: deque[float] = field(default_factory=lambda: deque(maxlen=_NOTICED))
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        counters = {
            name: dict(getattr(self, name))
            for name in ("submits", "job_ids", "charged", "refused", "fetches")
        }
        return {**counters, "polls": self.polls, "uploads": self.uploads, "callbacks": self.callbacks}


def bad_picture(kind: str, good: bytes) -> bytes:
    """The bytes of a picture that is spoilt in the way a fault of that kind asks for."""
    if kind == "not_an_image":
        return b"<html><body>Just a moment...</body></html>" * 50
    if kind == "truncated_image":
        return good[: len(good) // 2]
    if kind == "bomb":
        return _bomb()
    if kind == "webp":
        out = io.BytesIO()
        Image.open(io.BytesIO(good)).convert("RGBA").save(out, "WEBP")
        return out.getvalue()
    return good


async def send_huge(request: web.Request, before: bytes = b"", piece: bytes = _PIECE) -> web.StreamResponse:
    """Stream 200 MB with no length announced; ends when the client has had enough."""
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    await response.write(before)
    for _ in range(HUGE_BYTES // len(piece)):
        if request.transport is None or request.transport.is_closing():
            break
        await response.write(piece)
    return response


def _bomb() -> bytes:
    """A small PNG that claims 60,000 by 60,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


class Common(TypedDict, total=False):
    """What every stand-in of a provider with a key takes.

    Attributes:
        pictures: what draws. faults: shared with the other stand-ins of the server.
        durations: seconds a generation takes: a range, or a function of a random generator.
        key: the only key accepted; None: any that is not empty. seed: makes durations and pictures repeatable.
    """

    pictures: PictureMaker | None
    faults: Faults | None
    durations: Durations
    key: str | None
    seed: int


class StandIn:
    """What each of them begins with."""

    name: ClassVar[str]

    def __init__(self, **common: Unpack[Common]) -> None:
        self._seed = common.get("seed", 0)
        self.faults = common.get("faults") or Faults(self._seed)
        self.audit = Audit()
        self.durations = common.get("durations", DEMO_DURATIONS)
        self._pictures = common.get("pictures") or PictureMaker()
        self._key = common.get("key")
        self._random = random.Random(f"{self.name}:{self._seed}")
        self._count = itertools.count(1)
