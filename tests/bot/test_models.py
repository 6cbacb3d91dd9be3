"""/models and /limits: the choice of a person and of a group, what it costs and takes, and what is left."""

from __future__ import annotations

import pytest

from src.jobs import keys, transitions
from src.sandbox.telegram import Message
from src.telegram.i18n import get_texts
from tests.bot.bot_world import World


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    """Two providers, so that there is a choice."""
    return {
        "kie_api_key": "of-a-test",
        "kie_base_url": "http://127.0.0.1:9",
        "rate_limit": 4,
        "spend_cap_person_day": "5 pictures",
    }


def _labels(message: Message) -> list[str]:
    return [button["text"] for button in message.buttons]


@pytest.mark.parametrize(
    ("lang", "said", "saved"),
    [
        ("en", ["Posters, photographs", "0.02 USD a picture", "Usually about 30–45 s"], "Saved"),
        ("ru", ["Плакаты, фото", "0.02 USD за картинку", "Обычно примерно 30–45 с"], "Сохранено"),
    ],
)
async def test_a_person_chooses_who_draws(world: World, lang: str, said: list[str], saved: str) -> None:
    took = [30_000] * 9 + [45_000]
    await world.app.redis.rpush(keys.TOOK("kie", "flux-2/pro-text-to-image"), *took)
    await world.app.redis.expire(keys.TOOK("kie", "flux-2/pro-text-to-image"), 1000)
    anna = world.sandbox.person(language_code=lang)
    shown = await anna.reply_after(await anna.send_text("/models"))
    assert [part for part in said if part not in shown.text] == []
    assert _labels(shown)[0].startswith("• ")
    for _ in range(2):
        assert saved in (await (await anna.tap(shown, "Qwen Image")).answered())["text"]
    await world.settled()
    assert "• Qwen Image" in _labels(shown)
    await anna.reply_after(await anna.send_text("a fox"))
    assert (await world.active(anna.id))[0].spec.model == "qwen/text-to-image"
    await (await anna.tap(shown, _labels(shown)[0])).answered()
    await anna.reply_after(await anna.send_text("a bear"))
    assert (await world.active(anna.id))[1].spec.model == "gpt-image-2.5-flare"
    forged = await anna.tap_data(shown, "m:of-the-past")
    assert saved not in (await forged.answered())["text"]


@pytest.mark.parametrize(("lang", "only"), [("en", "its admins choose"), ("ru", "выбирают её админы")])
async def test_a_groups_admins_choose_for_everybody_there(world: World, lang: str, only: str) -> None:
    anna, eve = (world.sandbox.person(name, language_code=lang) for name in ("Anna", "Eve"))
    group = world.sandbox.group("Zoo", [anna, eve])
    world.sandbox.set_role(group, anna, "administrator", by=eve)
    await world.app.ledger.choose(str(eve.id), model="flux-2-pro")
    shown = await eve.reply_after(await eve.send_text("/models", chat=group), chat=group)
    assert only in (await (await eve.tap(shown, "Qwen Image")).answered())["text"]
    await eve.reply_after(await eve.send_text("/imagine a fox", chat=group), chat=group)
    await (await anna.tap(shown, "Qwen Image")).answered()
    await eve.reply_after(await eve.send_text("/imagine a bear", chat=group), chat=group)
    await eve.reply_after(await eve.send_text("/imagine a wolf --model seedream 4.5", chat=group), chat=group)
    await eve.send_text("a hare")
    jobs = await world.active(eve.id)
    assert [job.spec.model.partition("/")[0] for job in jobs] == ["flux-2", "qwen", "seedream", "flux-2"]
    await world.app.ledger.run(transitions.migrated(group.id, -100_500))
    assert await world.app.redis.hget(keys.CHAT(-100_500), "model") == "qwen-image"


@pytest.mark.parametrize(
    ("lang", "before", "after", "none"),
    [
        ("en", "4 of 4 requests", ["3 of 4 requests", "The next one comes back in", "works: 1 of 12", "4 of 5 pictures left"], "no limits"),
        ("ru", "Запросов: 4 из 4", ["Запросов: 3 из 4", "Следующий вернётся через", "в работе: 1", "картинок: 4 из 5"], "нет ограничений"),
    ],
)  # fmt: skip
async def test_what_is_left_and_when_more_comes_back(
    world: World, lang: str, before: str, after: list[str], none: str
) -> None:
    anna = world.sandbox.person(language_code=lang)
    fresh = await anna.reply_after(await anna.send_text("/limits"))
    assert before in fresh.text
    assert after[1] not in fresh.text
    await anna.reply_after(await anna.send_text("a fox"))
    used = await anna.reply_after(await anna.send_text("/limits"))
    assert [part for part in after if part not in used.text] == []
    await world.app.ledger.choose(str(anna.id), tier="unlimited")
    assert none in (await anna.reply_after(await anna.send_text("/limits"))).text
    await world.app.ledger.choose(str(anna.id), active=3)
    own = (await anna.reply_after(await anna.send_text("/limits"))).text
    assert own == get_texts().get(lang, "limits-active", number=1, limit=3)
