"""A picture is changed only where it was painted over: the conversation, and what a provider is asked then."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any, cast

import pytest
from PIL import Image, ImageDraw

from src.jobs import Job, Spec, State, transitions
from src.pipeline import submit
from src.pipeline.leases import Work
from src.providers.base import GenRequest, ImageBytes, Provider, Ticket
from src.sandbox.telegram import Message, Person
from tests.bot.bot_world import World, png

_SIZE = (640, 480)
_PAINTED, _LEFT = (200, 160), (500, 400)

SAID = {
    "en": {
        "button": "Only a part",
        "how": "paint over that part",
        "first": "First send the picture",
        "words": "what shall be where you painted",
        "unclear": "couldn’t tell what was painted over",
        "help": "paint over it in Telegram’s editor",
    },
    "ru": {
        "button": "Только часть",
        "how": "закрасьте эту часть",
        "first": "Сначала пришлите картинку",
        "words": "что должно быть там, где закрашено",
        "unclear": "Не удалось понять, что закрашено",
        "help": "закрасьте её в редакторе Telegram",
    },
}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    # The models of one take masks, those of the other do not.
    return {
        "kie_api_key": "key-of-a-test",
        "kie_base_url": "http://127.0.0.1:9",
        "kie_upload_url": "http://127.0.0.1:9",
        "provider_result_hosts": "127.0.0.1",
    }


def _drawn(*, over: bool = False, ground: str = "navy") -> bytes:
    picture = Image.new("RGB", _SIZE, ground)
    draw = ImageDraw.Draw(picture)
    for x in range(0, _SIZE[0], 40):
        draw.line([x, 0, _SIZE[0] - x, _SIZE[1]], fill="orange", width=9)
    if over:
        draw.ellipse([120, 80, 280, 240], fill="lime")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


async def _shown(world: World, person: Person) -> tuple[Job, Message]:
    """A picture of the bot's."""
    shown = await person.reply_after(await person.send_text("a fox"))
    [job] = await world.active(person.id)
    await world.finished(job, ImageBytes(_drawn(), "image/png", *_SIZE))
    return job, shown


async def _press(world: World, person: Person, message: Message, button: str) -> None:
    await (await person.tap(message, button)).answered()
    await world.settled()


async def _asked(world: World, person: Person) -> Job:
    [job] = await world.active(person.id)
    return job


async def _begun(world: World, job: Job) -> GenRequest | None:
    """What its provider is asked for a job; None: nothing."""
    asked: list[GenRequest] = []

    class Listening:
        name, capabilities = "openai", world.app.providers["openai"].capabilities

        async def submit(self, request: GenRequest) -> Ticket:
            asked.append(request)
            return Ticket("openai", "t")

    assert job.provider == "openai"
    listening = Listening()
    listening.capabilities = replace(listening.capabilities, synchronous=False)
    app = replace(world.app, providers={"openai": cast(Provider, listening)})
    held = await world.app.ledger.run(transitions.claim(job.id, "submit", holder="test", lease=30))
    assert held is not None
    await submit.begin(Work(app, world.bot, world.messages), held)
    return asked[0] if asked else None


def _alpha(request: GenRequest) -> Any:
    """How opaque the mask is at a place; of one that fits the picture."""
    assert request.mask is not None
    mask, source = (Image.open(io.BytesIO(one.data)) for one in (request.mask, request.sources[0]))
    assert (mask.format, source.format, mask.size) == ("PNG", "PNG", source.size)
    return mask.getchannel("A").getpixel


@pytest.mark.parametrize("lang", SAID)
async def test_a_part_is_painted_over_and_changed(world: World, lang: str) -> None:
    say, anna = SAID[lang], world.sandbox.person(language_code=lang)
    parent, shown = await _shown(world, anna)
    for button in ("⋯", say["button"]):
        await _press(world, anna, shown, button)
    asked = await anna.wait_for(lambda m: say["how"] in m.text)
    assert asked.reply_to == shown.message_id
    refused = await anna.reply_after(await anna.send_text("a hat"))
    assert say["first"] in refused.text
    painted = await anna.send_photo(_drawn(over=True), reply_to=asked)
    assert say["words"] in (await anna.reply_after(painted)).text
    await anna.reply_after(await anna.send_text("a hat"))
    job = await _asked(world, anna)
    assert (job.spec.parent, job.spec.how, job.spec.prompt) == (parent.id, "mask", "a hat")
    assert (job.spec.source, job.spec.painted) == (shown.media["file_id"], painted.media["file_id"])

    request = await _begun(world, job)
    assert request is not None
    alpha = _alpha(request)
    assert (alpha(_PAINTED), alpha(_LEFT)) == (0, 255)
    source = Image.open(io.BytesIO(request.sources[0].data)).convert("RGB")
    # It is the original that is changed, not what was painted.
    assert cast(tuple[int, ...], source.getpixel(_PAINTED))[1] < 200

    # Words are an ordinary wish again.
    await anna.reply_after(await anna.send_text("a cat"))
    assert [j.spec.how for j in await world.active(anna.id)] == ["mask", None]


@pytest.mark.parametrize("lang", SAID)
async def test_what_shows_no_part_is_said_where_a_mask_was_asked_for(world: World, lang: str) -> None:
    say, anna = SAID[lang], world.sandbox.person(language_code=lang)
    assert say["help"] in (await anna.reply_after(await anna.send_text("/help"))).text
    _, shown = await _shown(world, anna)
    for button in ("⋯", say["button"]):
        await _press(world, anna, shown, button)
    await anna.wait_for(lambda m: say["how"] in m.text)
    placeholder = await anna.reply_after(await anna.send_photo(_drawn(), "a hat"))
    job = await _asked(world, anna)
    assert await _begun(world, job) is None
    failed = await world.app.ledger.job(job.id)
    assert failed is not None
    assert (failed.state, failed.kind) == (State.FAILED, "bad_mask")
    await world.told(failed)
    assert say["unclear"] in placeholder.text
    assert placeholder.buttons == []


async def test_an_answer_with_the_picture_painted_over_is_enough(world: World) -> None:
    anna = world.sandbox.person()
    parent, shown = await _shown(world, anna)
    painted = await anna.send_photo(_drawn(over=True), "a hat", reply_to=shown)
    await anna.reply_after(painted)
    job = await _asked(world, anna)
    assert (job.spec.source, job.spec.painted) == (shown.media["file_id"], painted.media["file_id"])
    assert (job.spec.parent, job.spec.how) == (parent.id, "edit")
    request = await _begun(world, job)
    assert request is not None
    assert _alpha(request)(_PAINTED) == 0

    # Only who takes a mask is asked instead.
    others = world.app.routing.others
    assert [route.provider for route in others("openai", replace(job.spec, painted=None))] == ["kie"]
    assert others("openai", job.spec) == ()


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        pytest.param(_drawn(ground="white"), True, id="another of the same shape"),
        pytest.param(_drawn(), True, id="not painted over"),
        pytest.param(png(400, 400), False, id="another shape"),
    ],
)
async def test_another_photo_in_answer_to_a_picture_is_changed_itself(
    world: World, sent: bytes, seen: bool
) -> None:
    anna = world.sandbox.person()
    _, shown = await _shown(world, anna)
    photo = await anna.send_photo(sent, "with a hat", reply_to=shown)
    await anna.reply_after(photo)
    job = await _asked(world, anna)
    assert (job.spec.painted is not None) == seen
    request = await _begun(world, job)
    assert request is not None
    assert request.mask is None
    width = 640 if seen else 400
    assert [source.width for source in request.sources] == [width]
    pixel = Image.open(io.BytesIO(request.sources[0].data)).convert("RGB").getpixel((3, 200))
    expected = Image.open(io.BytesIO(sent)).convert("RGB").getpixel((3, 200))
    assert all(abs(a - b) < 40 for a, b in zip(cast(Any, pixel), cast(Any, expected), strict=True))


async def test_a_model_without_masks_changes_the_photo_itself_and_is_not_offered_for_a_part(
    world: World,
) -> None:
    anna = world.sandbox.person()
    _, shown = await _shown(world, anna)
    await _press(world, anna, shown, "⋯")
    assert any("Only a part" in b["text"] for b in shown.buttons)
    await _press(world, anna, shown, "Only a part")
    await anna.wait_for(lambda m: "paint over that part" in m.text)
    await world.app.ledger.choose(str(anna.id), model="nano-banana-2-1")
    refused = await anna.reply_after(
        await anna.send_photo(_drawn(over=True), "a hat --model nano-banana-2-1")
    )
    assert "can’t change only a part" in refused.text
    await anna.send_text("/cancel")
    await world.settled()
    photo = await anna.send_photo(_drawn(over=True), "a hat", reply_to=shown)
    await anna.reply_after(photo)
    job = await _asked(world, anna)
    assert (job.provider, job.spec.source, job.spec.painted) == ("kie", photo.media["file_id"], None)
    await _press(world, anna, shown, "Back to the buttons")
    await _press(world, anna, shown, "⋯")
    assert not any("Only a part" in b["text"] for b in shown.buttons)


def test_what_was_asked_for_before_there_were_masks_is_read() -> None:
    old = Spec.loads('{"prompt": "x", "model": "m", "aspect": "1:1", "chat": 1, "lang": "en", "source": "f"}')
    assert (old.source, old.painted) == ("f", None)
