"""Several photos, one after another or as an album, are several references; a reply takes the words it answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from src.jobs import Job, transitions
from src.pipeline import submit
from src.pipeline.leases import Work
from src.providers.base import Capabilities, GenRequest, Provider, Ticket
from src.sandbox.telegram import Message
from tests.bot.bot_world import World, image, png

BOT = "@imagebot_sandbox_bot"


def _files(*messages: Message) -> tuple[str, ...]:
    return tuple(message.media["file_id"] for message in messages)


async def _requested(world: World, job: Job) -> GenRequest:
    """What a provider that takes sixteen pictures is asked for a job."""
    asked: list[GenRequest] = []

    class Listening:
        name, capabilities = "openai", Capabilities(edit=True, sources=16)

        async def submit(self, request: GenRequest) -> Ticket:
            asked.append(request)
            return Ticket("openai", "t")

    app = replace(world.app, providers={"openai": cast(Provider, Listening())})
    held = await world.app.ledger.run(transitions.claim(job.id, "submit", holder="test", lease=30))
    assert held is not None
    await submit.begin(Work(app, world.bot, world.messages), held)
    return asked[0]


@pytest.mark.parametrize("under", [0, 2])
@pytest.mark.parametrize(("lang", "draw"), [("en", "Draw"), ("ru", "Нарисовать")])
@pytest.mark.parametrize("start", ["", "/create"])
async def test_an_album_is_several_references_wherever_its_words_stand(
    world: World, start: str, lang: str, draw: str, under: int
) -> None:
    anna = world.sandbox.person(language_code=lang)
    if start:
        await anna.reply_after(await anna.send_text(start))
    async with world.away():
        photos = [
            await anna.send_photo(png(*size), "put the hat on her" if n == under else "", album="4711")
            for n, size in enumerate([(600, 1200), (480, 640), (640, 480)])
        ]
    if start:
        dialog = await anna.wait_for(lambda m: m.from_bot and "put the hat on her" in m.text)
        await (await anna.tap(dialog, draw)).answered()
    else:
        assert (await anna.reply_after(photos[-1])).reply_to == photos[under].message_id
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.pictures, job.spec.aspect) == (
        "put the hat on her",
        _files(*photos),
        "9:16",
    )
    assert len([m for m in anna.messages if m.from_bot]) == 1
    request = await _requested(world, job)
    assert [(source.width, source.height) for source in request.sources] == [
        (600, 1200),
        (480, 640),
        (640, 480),
    ]


@pytest.mark.parametrize(
    ("lang", "asks", "more"),
    [("en", "what to change", "I have 3 pictures"), ("ru", "что в ней изменить", "У меня 3 картинки")],
)
async def test_photos_one_after_another_are_references_until_words_come(
    world: World, lang: str, asks: str, more: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    first = await anna.send_photo(png(800, 600))
    assert asks in (await anna.reply_after(first)).text
    async with world.away():
        album = await anna.send_album([png(colour="red"), png(colour="blue")])
    assert more in (await anna.reply_after(album[-1])).text
    await anna.reply_after(await anna.send_text("the cat on the sofa"))
    [job] = await world.active(anna.id)
    assert (job.spec.pictures, job.spec.aspect) == (_files(first, *album), "4:3")
    # What comes next is new.
    await anna.reply_after(await anna.send_text("a fox"))
    assert [job.spec.pictures for job in await world.active(anna.id)][1:] == [()]


async def test_again_looks_at_the_same_pictures(world: World) -> None:
    anna = world.sandbox.person()
    async with world.away():
        photos = await anna.send_album([png(colour="red"), png(colour="blue")], "both in one")
    shown = await anna.reply_after(photos[-1])
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    await (await anna.tap(shown, "Again")).answered()
    [again] = await world.active(anna.id)
    assert again.spec.pictures == _files(*photos)


@pytest.mark.parametrize(
    ("lang", "said", "first"),
    [
        ("en", "up to 16 pictures at a time", "Take the first"),
        ("ru", "до 16 картинок за раз", "Взять первые"),
    ],
)
async def test_more_pictures_than_anybody_takes_are_told_before_anything_is_ordered(
    world: World, lang: str, said: str, first: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    for _ in range(2):
        async with world.away():
            album = await anna.send_album([png()] * 9)
        await anna.reply_after(album[-1])
    refused = await anna.reply_after(await anna.send_text("all in one"))
    assert said in refused.text
    assert await world.active(anna.id) == []
    await (await anna.tap(refused, first)).answered()
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, len(job.spec.pictures)) == ("all in one", 16)
    # They are not waiting for words any more.
    await anna.reply_after(await anna.send_text("a fox"))
    assert (await world.active(anna.id))[1].spec.pictures == ()


async def test_an_album_with_what_cannot_be_changed_is_told_once(world: World) -> None:
    anna = world.sandbox.person()
    vector = {
        "document": {
            "file_id": "v",
            "file_unique_id": "v",
            "file_name": "a.svg",
            "mime_type": "image/svg+xml",
        }
    }
    async with world.away():
        await anna.send_photo(png(), "winter", album="1")
        await anna.send_content({**vector, "media_group_id": "1"})
    await anna.wait_for(lambda m: "JPEG, PNG, WebP" in m.text)
    await world.settled()
    assert len([m for m in anna.messages if m.from_bot]) == 1
    assert await world.active(anna.id) == []


async def test_an_album_in_a_group_that_calls_the_bot_under_its_second_photo(world: World) -> None:
    anna = world.sandbox.person()
    world.sandbox.bot.reads_all_group_messages = True
    group = world.sandbox.group("Zoo", [anna])
    async with world.away():
        photos = [
            await anna.send_photo(png(), text, chat=group, album="1") for text in ("", f"{BOT} both in one")
        ]
    await anna.reply_after(photos[-1], chat=group)
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.pictures) == ("both in one", _files(*photos))


@pytest.mark.parametrize("gesture", ["photo", "/create", "/imagine"])
async def test_a_reply_takes_the_words_it_answers(world: World, gesture: str) -> None:
    anna = world.sandbox.person()
    words = await anna.send_text("in the snow")
    await anna.reply_after(words)
    if gesture == "photo":
        await anna.reply_after(await anna.send_photo(png(), reply_to=words))
    elif gesture == "/imagine":
        await anna.reply_after(await anna.send_text("/imagine", reply_to=words))
    else:
        dialog = await anna.reply_after(await anna.send_text("/create", reply_to=words))
        await (await anna.tap(dialog, "Draw")).answered()
    _, job = await world.active(anna.id)
    assert (job.spec.prompt, bool(job.spec.source)) == ("in the snow", gesture == "photo")


async def test_a_reply_to_a_picture_of_another_chat_changes_it(world: World) -> None:
    anna = world.sandbox.person()
    photo = await anna.send_photo(png(900, 1600))
    elsewhere: dict[str, Any] = {
        "origin": {"type": "hidden_user", "sender_user_name": "Eve", "date": 1},
        "photo": photo.content["photo"],
    }
    await anna.send_content({"text": "in winter", "external_reply": elsewhere})
    await anna.wait_for(lambda m: "Drawing" in m.text)
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.source, job.spec.aspect) == ("in winter", *_files(photo), "9:16")


async def test_a_slow_upload_holds_not_even_its_own_chat_and_outlives_the_process(world: World) -> None:
    anna = world.sandbox.person()
    shown = await anna.reply_after(await anna.send_text("a red fox"))
    [job] = await world.active(anna.id)
    await world.finished(job, image())
    slow = world.sandbox.faults.add("slow", "sendDocument", seconds=60, times=1)
    await (await anna.tap(shown, "As file")).answered()
    assert "How to use me" in (await anna.reply_after(await anna.send_text("/help"))).text
    async with asyncio.timeout(30):
        while not slow.hits or await world.inbox.waiting() > 1:
            await asyncio.sleep(0.01)
    assert await world.inbox.waiting() == 1
    # As a kill would.
    for task in world.handling._tasks:
        task.cancel()
    await world.stop()
    world.start()
    file = await anna.wait_for(lambda m: "document" in m.content)
    assert file.text == ""
