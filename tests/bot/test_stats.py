"""/stats: what happened, in words and as a chart, of a day, a week, a month."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from src.jobs import keys
from src.jobs.spending import day
from src.ops import chart, tally
from src.ops.tally import Bar
from tests.bot.bot_world import World, image


@pytest.mark.parametrize(
    ("lang", "today", "people", "counts", "kinds", "week", "seven"),
    [
        ("en", "Today (UTC)", "ordered: 2", "Asked 3, delivered 1, failed 1, cancelled 1", "timeout × 1", "Week", "Seven days"),
        ("ru", "Сегодня (UTC)", "людей: 2", "Заказано 3, доставлено 1, неудач 1, отменено 1", "слишком долго × 1", "Неделя", "Семь дней"),
    ],
)  # fmt: skip
async def test_from_a_days_jobs_to_the_chart(
    world: World, lang: str, today: str, people: str, counts: str, kinds: str, week: str, seven: str
) -> None:
    admin = world.sandbox.person("Root", id=77, language_code=lang)
    anna, boris = world.sandbox.person("Anna"), world.sandbox.person("Boris")
    for person in (anna, boris, anna):
        await person.reply_after(await person.send_text("a fox"))
    [drawn, failed], [cancelled] = await world.active(anna.id), await world.active(boris.id)
    await world.finished(drawn, image())
    await world.failed(failed, "timeout")
    await admin.reply_after(await admin.send_text(f"/cancel {cancelled.id}"))
    await world.told(cancelled)
    # Yesterday's are of the week, not of today.
    yesterday = day(await world.app.ledger.now()) - 1
    await world.app.redis.hset(
        keys.TALLY(yesterday), mapping={"3 admitted": 5, "3 delivered": 5, "3 ms": 50_000}
    )
    await world.app.redis.expire(keys.TALLY(yesterday), 1000)

    shown = await admin.reply_after(await admin.send_text("/stats"))
    assert shown.has_photo
    for part in (today, people, counts, kinds):
        assert part in shown.text
    await (await admin.tap(shown, week)).answered()
    seen = await admin.wait_for(lambda m: m is shown and seven in m.text)
    assert counts.replace("3", "8", 1).replace("1", "6", 1) in seen.text
    found = await tally.look(world.app, "week")
    assert [bar.delivered for bar in found.bars] == [0, 0, 0, 0, 0, 5, 1]
    assert found.bars[5].seconds == 10.0
    assert (await world.app.redis.ttl(keys.TALLY(yesterday + 1))) > 80 * 86_400


def test_a_bar_is_as_high_as_what_it_counts() -> None:
    bars = [Bar(hour * 3_600_000) for hour in range(24)]
    empty = _colours(chart.chart(bars))
    bars[3] = Bar(3 * 3_600_000, 40, delivered=20, failed=10, cancelled=10, seconds=30)
    full = _colours(chart.chart(bars))
    assert chart.DELIVERED not in empty
    assert full[chart.DELIVERED] == pytest.approx(2 * full[chart.FAILED], rel=0.05)
    assert full[chart.FAILED] == pytest.approx(full[chart.CANCELLED], rel=0.2)
    assert chart.SECONDS in full


def _colours(png: bytes) -> dict[str, int]:
    found = Image.open(io.BytesIO(png)).convert("RGB").getcolors(1 << 20) or []
    return {"#" + bytes(colour).hex(): count for count, colour in found}  # type: ignore[arg-type]
