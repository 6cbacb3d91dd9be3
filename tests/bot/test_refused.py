"""A refusal says why, that it did not count, and has a button that does what helps."""

from __future__ import annotations

import pytest
from fluent.syntax import FluentParser
from fluent.syntax import ast as fluent

from src.pipeline.admission import TIERS
from src.telegram import keyboards
from src.telegram.i18n import LANGUAGES, get_texts
from tests.bot.bot_world import World
from tests.bot.test_texts import FOLDER

SAID = {
    "en": ("doesn’t count", "Ask again", "in the works", "Edit prompt", "new description"),
    "ru": ("не засчитан", "Ещё раз", "Что в работе", "Другие слова", "новое описание"),
}


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"rate_limit": 2, "max_active_per_user": 1}


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_what_was_refused_is_asked_for_by_its_button(world: World, lang: str) -> None:
    uncounted, again, in_the_works, _, _ = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    await anna.reply_after(await anna.send_text("a bear"))
    asked = await anna.send_text("a fox --n 1 --ar 16:9")
    refused = await anna.reply_after(asked)
    assert uncounted in refused.text
    eve = world.sandbox.person("Eve", language_code=lang)
    await (await eve.tap_data(refused, f"o:yes:{asked.message_id}")).answered()
    told = await (await anna.tap(refused, again)).answered()
    assert told["show_alert"]
    listed = await anna.tap(refused, in_the_works)
    await listed.answered()
    await anna.wait_for(lambda m: m is refused and "a bear" in m.text)

    tier = next(name for name, other in TIERS.items() if "max_active" in other)
    await world.app.ledger.choose(str(anna.id), tier=tier)
    refused = await anna.reply_after(asked)
    await anna.tap_data(refused, f"o:yes:{asked.message_id}")
    await anna.wait_until(lambda messages: refused not in messages)
    jobs = await world.active(anna.id)
    assert [(job.spec.prompt, job.spec.aspect) for job in jobs] == [("a bear", "1:1"), ("a fox", "16:9")]
    assert (await world.request_of(jobs[1])).reply_to == asked.message_id
    # Once.
    assert (await (await anna.tap_data(refused, f"o:yes:{asked.message_id}")).answered())["text"]
    assert len(await world.active(anna.id)) == 2


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_words_that_were_refused_are_changed(world: World, lang: str) -> None:
    uncounted, _, _, edit, new = SAID[lang]
    anna = world.sandbox.person(language_code=lang)
    refused = await anna.reply_after(await anna.send_text("a fox --ar 5:17"))
    assert uncounted in refused.text
    await (await anna.tap(refused, edit)).answered()
    question = await anna.wait_for(lambda m: new in m.text.lower())
    assert "a fox --ar 5:17" in question.text
    await anna.reply_after(await anna.send_text("a fox --ar 16:9"))
    [job] = await world.active(anna.id)
    assert (job.spec.prompt, job.spec.aspect) == ("a fox", "16:9")


@pytest.mark.parametrize(
    ("lang", "said", "one"),
    [("en", "for 1 picture at once", "Just one"), ("ru", "больше 1 картинки", "Только одну")],
)
async def test_who_asks_for_more_than_their_limit_is_offered_one(
    world: World, lang: str, said: str, one: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    refused = await anna.reply_after(await anna.send_text("a fox --n 4"))
    assert said in refused.text
    await anna.tap(refused, one)
    await anna.wait_until(lambda messages: refused not in messages)
    assert [job.spec.prompt for job in await world.active(anna.id)] == ["a fox"]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_refusal_has_what_helps(lang: str) -> None:
    say = get_texts().translator(lang)
    helps: dict[str, set[str]] = {}
    for path in (FOLDER / lang).glob("*.ftl"):
        for entry in FluentParser().parse(path.read_text("utf-8")).body:
            if isinstance(entry, fluent.Message) and entry.id.name.startswith("refused-"):
                key = entry.id.name.removeprefix("refused-")
                markup = keyboards.refused(say, entry.id.name, 1)
                data = markup.inline_keyboard[0][0].callback_data if markup else "nothing"
                helps.setdefault(str(data), set()).add(key)
    assert helps == {
        "o:yes:1": {
            *("rate", "active", "busy", "full", "spent", "spent-person", "cooling", "unavailable"),
            *("no-pictures", "paused", "off", "here", "here-all"),
        },
        "p:show:0": {"unpaid"},
        "o:words:1": {"forbidden"},
        "o:one:1": {"many", "slow"},
        "o:fewer:1": {"no-edits", "too-many-pictures"},
        # For the owner, or a group's admins, to take back; told where the wish is not; or another picture or model helps.
        "nothing": {
            "blocked",
            "no-text",
            "only-admins",
            "no-changes-here",
            "unpaid-chat",
            "unpainted",
            "no-mask",
        },
    }
