"""What is not drawn: the owner's list of words, strikes for asking, and a time to cool down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from src.jobs import NO_CHAT, Admission, Ledger, keys
from src.pipeline import admission, failures
from src.pipeline.admission import Wish
from src.pipeline.blocked_words import has_blocked_word
from src.pipeline.leases import Work
from src.settings import SettingsError, load_settings
from src.telegram.i18n import get_texts
from src.telegram.status_text import reason
from tests.jobs.states import claimed

LIST = """
# what nobody wants
gore
бомб*        # in all its endings
Jane Q. Public
чёрный квадрат
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    file = tmp_path / "words.txt"
    file.write_text(LIST, "utf-8")
    return file


@pytest.fixture
def settings_of_work(words: Path) -> dict[str, Any]:
    return {"blocked_words_file": words, "kie_api_key": "k", "rate_limit": 100}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a scene of GORE, red", True),
        ("g\u00adore and g\u200bore", True),
        ("ＧＯＲＥ", True),
        ("the city of Goreville, categories", False),
        ("взрыв бомбы", True),
        ("бомбардировщик", True),
        ("абомбы", False),
        ("portrait of jane  q. public", True),
        ("Jane and the public", False),
        ("черный\nквадрат", True),
        ("чёрный круг", False),
        ("", False),
    ],
)
def test_a_word_is_found_however_it_is_written(words: Path, text: str, found: bool) -> None:
    assert has_blocked_word(text, words) is found
    assert not has_blocked_word(text, None)


def test_a_list_that_is_empty_or_cannot_be_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n\n")
    assert not has_blocked_word("anything", empty)
    with pytest.raises(SettingsError, match="BLOCKED_WORDS_FILE: expected a readable file of words"):
        load_settings(blocked_words_file=tmp_path / "missing")


async def _ask(work: Work, prompt: str, user: int | str = 1, chat: int = 1) -> Admission:
    update = str(await work.app.redis.incr("updates"))
    return await admission.ask(work.app, Wish(user, chat, prompt, update, count=2))


async def test_three_strikes_and_a_time_to_cool_down(work: Work) -> None:
    assert (await _ask(work, "a fox")).accepted
    said = [await _ask(work, "gore") for _ in range(3)]
    assert [(one.verdict, one.number) for one in said] == [("forbidden", n) for n in (2, 1, 0)]
    refused = await _ask(work, "a fox")
    assert refused.verdict == "cooling"
    assert 1700 < refused.number <= 1800
    # Nobody else is meant, nor a person who meets no limits.
    assert (await _ask(work, "a fox", 2)).accepted
    await work.app.ledger.choose("1", tier="unlimited")
    assert (await _ask(work, "a fox")).accepted
    # After it the count begins anew.
    await work.app.ledger.choose("1", tier="ordinary")
    await work.app.redis.delete(keys.COOLING("1"))
    assert (await _ask(work, "gore")).number == 2
    assert await work.app.redis.zcard(keys.ACTIVE("1")) == 4


async def test_one_request_said_again_is_one_strike(work: Work) -> None:
    wish = Wish(1, 1, "gore", "the same update")
    assert [(await admission.ask(work.app, wish)).number for _ in range(4)] == [2, 2, 2, 2]
    assert (await _ask(work, "gore")).number == 1


async def test_other_software_is_refused_and_gets_no_strikes(work: Work) -> None:
    for _ in range(5):
        assert (await _ask(work, "gore", "api-shop", NO_CHAT)).verdict == "forbidden"
    assert (await _ask(work, "a fox", "api-shop", NO_CHAT)).accepted


async def test_what_a_filter_refused_is_one_strike_a_request_and_said(
    work: Work, sync_redis: redis.Redis
) -> None:
    ledger, said = Ledger(sync_client=sync_redis), []
    for _ in range(3):
        asked = await _ask(work, "a fox")
        request = await work.app.ledger.request(asked.request)
        assert request is not None
        for job_id in request.jobs:
            job = claimed(ledger, job_id, "submit")
            await failures.fail(work, job, "moderated_input")
            await failures.fail(work, job, "moderated_input")
        first = claimed(ledger, request.jobs[0], "deliver")
        said.append(reason(get_texts().translator("en"), first))
        assert claimed(ledger, request.jobs[1], "deliver").strikes_left is None
    assert [text.rpartition("\n⚠️ ")[2][:12] for text in said] == [
        "2 more of th",
        "Once more wi",
        "That was too",
    ]
    assert (await _ask(work, "a fox")).verdict == "cooling"


async def test_a_picture_that_a_filter_hid_is_no_strike(work: Work, sync_redis: redis.Redis) -> None:
    asked = await _ask(work, "a fox")
    request = await work.app.ledger.request(asked.request)
    assert request is not None
    job = claimed(Ledger(sync_client=sync_redis), request.jobs[0], "submit")
    await failures.fail(work, job, "moderated_output")
    assert not await work.app.redis.exists(keys.STRIKES("1"))
