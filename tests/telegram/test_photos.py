"""How pictures and tiles get into messages: as photos, as files, fitted, and by Telegram's ids."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import AsyncIterator

import pytest
from aiogram.exceptions import TelegramRetryAfter
from PIL import Image

from src.bot import pictures
from src.jobs import keys
from src.providers.base import ErrorKind, ImageBytes, ProviderError
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World, image, png


async def test_tiles_are_uploaded_once_and_forgotten_ids_mended(world: World) -> None:
    anna = world.sandbox.person()
    await world.asked(anna, 2)
    await world.asked(anna, 2)
    key = (await world.app.redis.keys("*tile:*"))[0]
    await world.app.redis.set(key, "AgACforgotten")
    await world.asked(anna, 2)
    uploads = [len(call.sha256) for call in world.sandbox.audit.of("sendMediaGroup")]
    assert uploads == [2, 0, 0, 2]
    assert await world.app.redis.get(key) != "AgACforgotten"


@pytest.mark.parametrize("size", [(9000, 1500), (2100, 100)])
async def test_outsized_pictures_come_as_a_file_or_fitted_into_an_album(
    world: World, size: tuple[int, int]
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    await world.finished(job, image(*size))
    assert placeholder.sha256 == hashlib.sha256(png(*size)).hexdigest()
    assert "document" in placeholder.content
    assert placeholder.buttons
    jobs, _ = await world.asked(anna, 2)
    tiles = [m for m in anna.messages if "media_group_id" in m.content]
    await world.finished(jobs[0], image(*size))
    assert tiles[0].has_photo
    assert tiles[0].media["width"] > tiles[0].media["height"]


@pytest.mark.parametrize("count", [1, 2])
async def test_what_its_provider_calls_borderline_is_covered_until_a_tap(world: World, count: int) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, count)
    for job, borderline in zip(jobs, (True, False), strict=False):
        made = await world.made(job, png())
        await world.app.redis.hset(
            keys.JOB(job.id), "result", json.dumps({"borderline": True} if borderline else {})
        )
        shown = await world.shown(made, image())
        assert shown.get("borderline", False) is borderline
    covered = ["has_media_spoiler" in m.content for m in anna.messages if m.has_photo]
    assert covered == [True, False][:count]
    ended = await world.app.ledger.job(jobs[0].id)
    assert ended is not None
    again = await pictures.show(world.app, world.bot, ended, get_texts().translator("en"))
    assert again.has_media_spoiler


async def test_a_photo_that_telegram_cannot_process_comes_as_a_file(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    broken = ImageBytes(png()[:60], "image/png", 64, 48)
    await world.finished(job, broken)
    assert "document" in placeholder.content


async def test_a_photo_that_nobody_can_process_has_no_place_in_an_album(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    broken = ImageBytes(png()[:60], "image/png", 64, 48)
    with pytest.raises(ProviderError) as caught:
        await world.messages.picture(jobs[0], await world.request_of(jobs[0]), broken)
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_RESULT, "undecodable")


async def test_a_picture_that_breaks_off_on_its_way_is_not_shown(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)

    class Broken(ImageBytes):
        async def pieces(self) -> AsyncIterator[bytes]:
            yield self.data[:60]
            raise ProviderError(ErrorKind.BAD_RESULT, "truncated")

    broken = Broken(png(), "image/png", 64, 48)
    request = await world.request_of(job)
    with pytest.raises(ProviderError) as caught:
        await world.messages.picture(job, request, broken)
    assert caught.value.code == "truncated"
    assert not placeholder.has_photo


async def test_eleven_megabytes_come_as_a_file(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    noise = Image.frombytes("RGB", (1920, 1920), random.Random(1).randbytes(1920 * 1920 * 3))
    data = noise.tobytes()[:10_500_000]
    await world.finished(job, ImageBytes(data, "image/png", 1920, 1920))
    assert placeholder.media["file_size"] == len(data)


async def test_an_upload_that_is_made_again_is_read_from_its_beginning(world: World) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    pieces = 3

    class Counted(ImageBytes):
        read = 0

        async def pieces(self) -> AsyncIterator[bytes]:
            for start in range(0, len(self.data), -(-len(self.data) // pieces)):
                Counted.read += 1
                yield self.data[start : start + -(-len(self.data) // pieces)]

    world.sandbox.faults.add("429", "editMessageMedia", retry_after=1)
    request, picture = await world.request_of(job), Counted(png(), "image/png", 64, 48)
    with pytest.raises(TelegramRetryAfter):
        await world.messages.picture(job, request, picture)
    await world.messages.picture(job, request, picture)
    assert placeholder.sha256 == hashlib.sha256(png()).hexdigest()
    assert Counted.read == 2 * pieces


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("400", "Bad Request: PHOTO_SAVE_FILE_INVALID"),
        ("400", "Bad Request: a reason of next year"),
        ("413", None),
    ],
)
async def test_a_photo_refused_for_any_reason_comes_as_a_file(
    world: World, kind: str, description: str | None
) -> None:
    anna = world.sandbox.person()
    [job], placeholder = await world.asked(anna)
    world.sandbox.faults.add(kind, "editMessageMedia", description=description)
    await world.finished(job, image())
    assert placeholder.content["document"]["file_size"] == image().size
    assert [call.status for call in world.sandbox.audit.of("editMessageMedia")] == [int(kind), 200]


async def test_a_picture_for_an_album_refused_as_a_photo_is_made_to_fit(world: World) -> None:
    anna = world.sandbox.person()
    jobs, _ = await world.asked(anna, 2)
    before = next(m for m in anna.messages if "media_group_id" in m.content).sha256
    world.sandbox.faults.add("400", "editMessageMedia", description="Bad Request: PHOTO_SAVE_FILE_INVALID")
    await world.finished(jobs[0], image())
    first = next(m for m in anna.messages if "media_group_id" in m.content)
    assert first.sha256 not in (before, hashlib.sha256(image().data).hexdigest())


@pytest.mark.parametrize(
    "words",
    [
        "wrong file identifier/HTTP URL specified",
        "wrong remote file identifier specified: can't",
        "MEDIA_EMPTY",
    ],
)
async def test_a_tile_that_telegram_forgot_is_sent_anew_whatever_it_says(world: World, words: str) -> None:
    anna = world.sandbox.person()
    await world.asked(anna, 2)
    world.sandbox.faults.add("400", "sendMediaGroup", description=f"Bad Request: {words}")
    await world.asked(anna, 2)
    assert [len(call.sha256) for call in world.sandbox.audit.of("sendMediaGroup")][-1] == 2
