"""The catalog of models: every entry works at its provider's stand-in, and a wrong one is named with its line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from src.providers import make_providers, open_catalog
from src.providers.base import (
    ASPECTS,
    Done,
    GenRequest,
    ImageBytes,
    Provider,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.catalog import SHIPPED, Offer, Takes, get_catalog, read_catalog
from src.settings import SettingsError, load_settings
from tests.bot.bot_world import png

if TYPE_CHECKING:
    import httpx

    from tests.providers.conftest import Edge

CATALOG = get_catalog()
OFFERS = [offer for model in CATALOG.models.values() for offer in model.by]
ENTRY = """\
[fox]
name = { en = "Fox", ru = "Лис" }
good_at = { en = "foxes", ru = "лисы" }

[[fox.by]]
provider = "kie"
id = "fox/one"

[[fox.by]]
provider = "openai"
id = "fox"
prompt_max = 10
"""


async def made(provider: Provider, request: GenRequest) -> ImageBytes:
    answer = await provider.submit(request)
    until = time.monotonic() + 10
    while isinstance(answer, Ticket):
        assert time.monotonic() < until
        found = await provider.poll(answer)
        answer = found if isinstance(found, Done) else answer
    return await provider.fetch(answer.image)


@pytest.mark.parametrize("offer", OFFERS, ids=lambda o: f"{o.provider}-{o.id or o.edit_id}")
async def test_the_strict_stand_in_takes_every_model_with_all_it_is_said_to_take(
    edge: Edge, client: httpx.AsyncClient, offer: Offer
) -> None:
    provider = make_providers(edge.settings(), defaultdict(lambda: client))[offer.provider]
    if not offer.takes.words:
        source = SourceImage(png(64, 48), "image/png")
        assert offer.edit_id
        worked_on = await made(provider, GenRequest("j", "a fox", offer.edit_id, sources=(source,)))
        assert worked_on.width == (128 if "upscale" in offer.can else 64)
        assert worked_on.mime == "image/png"
        return
    more = {"seed": 7, "negative_prompt": "fog"}
    assert offer.id
    for quality in offer.takes.qualities or (None,):
        image = await made(provider, GenRequest("j", "a fox", offer.id, quality=quality, **more))  # type: ignore[arg-type]
    shapes = set()
    for aspect in ASPECTS if offer.takes.shape else ():
        other = await made(provider, GenRequest("j", "a fox", offer.id, aspect=aspect))
        shapes.add((other.width, other.height))
        wide, _, high = aspect.partition(":")
        assert (other.width > other.height) == (int(wide) > int(high))
    assert len(shapes) == (len(offer.aspects) if offer.takes.shape else 0)
    if offer.edit_id:
        source = SourceImage(image.data, image.mime)
        await made(provider, GenRequest("j", "in snow", offer.edit_id, sources=(source,), **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("offer", OFFERS, ids=lambda o: f"{o.provider}-{o.id or o.edit_id}")
async def test_more_pictures_than_a_model_takes_are_refused_before_anything_is_asked(
    edge: Edge, client: httpx.AsyncClient, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "send", None)
    provider = make_providers(edge.settings(), defaultdict(lambda: client))[offer.provider]
    sources = (SourceImage(png(64, 48), "image/png"),) * (offer.takes.sources + 1 if offer.edits else 1)
    request = GenRequest("j", "a fox", str(offer.edit_id or offer.id), sources=sources)
    with pytest.raises(ProviderError, match="too_many_sources"):
        await provider.submit(request)
    if offer.edits and not offer.takes.mask:
        with pytest.raises(ProviderError, match="no_mask"):
            await provider.submit(replace(request, sources=sources[:1], mask=sources[0]))


def test_a_mask_that_a_client_would_not_send_is_refused() -> None:
    source = SourceImage(png(64, 48), "image/png")
    request = GenRequest("j", "a fox", "m", sources=(source,), mask=source)
    offer = Offer(provider="fal", edit_id="m", takes=Takes(source="image_url", one=True, mask="mask_url"))
    with pytest.raises(ProviderError, match="no_mask"):
        offer.fields(request, ["https://a/b.png"])
    assert offer.fields(request, ["https://a/b.png"], "https://a/m.png")["mask_url"] == "https://a/m.png"


async def test_every_price_says_when_and_where_it_was_read() -> None:
    prices = [offer.price for offer in OFFERS if offer.price]
    assert prices
    assert all(price.source and price.day.year >= 2026 for price in prices)


def test_names_are_looked_up_by_entry_then_family_then_behind_a_gateways_prefix() -> None:
    otherwise = Offer(provider="kie", id="-")

    def found(provider: str, name: str) -> str | None:
        return CATALOG.offer(provider, name, otherwise).id

    assert found("kie", "nano-banana-2-1") == "nano-banana-2-1"
    assert found("kie", "nano-banana-2-lite-preview") == "nano-banana-2-lite"
    assert found("kie", "seedream/4.5-edit") == "seedream/4.5-text-to-image"
    assert found("kie", "no-such-model") == "-"
    assert found("openai", "openai/gpt-image-2.5-flare") == "gpt-image-2.5-flare"
    assert found("openai", "gpt-image-2.5-flare-2026-09-08") == "gpt-image-2.5-flare"
    # Of the family it is asked in the same way, but costs its own.
    tokens = [
        CATALOG.offer("openai", f"gpt-image-2.5{name}", otherwise).tokens is not None
        for name in ("-flare", "-flare-2026-09-08", "-flare-20260908", "-pro", "-flare-2", "-pro-2026-09-08")
    ]
    assert tokens == [True, True, True, False, False, False]
    assert CATALOG.offer("openai", "azure/gpt-image-2.5-flare-2026-09-08", otherwise).tokens is not None
    assert CATALOG.shown("kie", "nano-banana-2-1", "ru") == "Nano Banana 2.1"
    assert CATALOG.shown("kie", "no-such-model", "ru") == "no-such-model"


@pytest.mark.parametrize(
    ("before", "after", "line", "told"),
    [
        ('provider = "openai"', 'provider = "opnai"', 10, "there is no provider 'opnai', only kie, openai"),
        ('id = "fox/one"', 'id = "fox/one"\ntakes.sede = "seed"', 8, "fox.by.0.takes.sede: Extra inputs"),
        ("prompt_max = 10", "prompt_max = 0", 12, "fox.by.1.prompt_max: Input should be greater"),
        ('id = "fox"\n', "", 9, "fox.by.1: needs `id`, `edit_id` or both"),
        ('id = "fox"\n', 'id = "fox"\nedit_id = "fox"\n', 9, "needs `takes.source`"),
        ('good_at = { en = "foxes", ru', 'good_at = { en = "foxes", de', 3, "fox.good_at.ru: Field required"),
        (
            'provider = "openai"\nid = "fox"',
            'provider = "kie"\nid = "fox/one"',
            10,
            "kie has 'fox/one' in another",
        ),
        ('name = { en = "Fox"', 'name = { en = "Fox', 2, "at line 2"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(
    tmp_path: Path, before: str, after: str, line: int, told: str
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(ENTRY)
    assert read_catalog(file, {"kie", "openai"}).models["fox"].name.ru == "Лис"
    assert before in ENTRY
    file.write_text(ENTRY.replace(before, after))
    with pytest.raises(SettingsError) as caught:
        read_catalog(file, {"kie", "openai"})
    assert told in str(caught.value)
    assert f"{file}:{line}: " in str(caught.value) or f"line {line}" in str(caught.value)


def test_another_file_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(ENTRY)
    assert list(open_catalog(load_settings(models_file=file)).models) == ["fox"]
    assert list(open_catalog(load_settings()).models) == list(read_catalog(SHIPPED).models)
    with pytest.raises(SettingsError, match="cannot be read"):
        open_catalog(load_settings(models_file=tmp_path / "none.toml"))


async def test_a_model_decides_what_people_are_offered(
    edge: Edge, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    file = tmp_path / "models.toml"
    shapes = (
        '\nprompt_max = 99\ntakes.shape = "aspect_ratio"\ntakes.shapes = { "1:1" = "1:1", "3:2" = "wide" }'
    )
    file.write_text(
        ENTRY.replace("[[fox.by]]", "counts = 2\n[[fox.by]]", 1).replace('"fox/one"', '"fox/one"' + shapes)
    )
    settings = edge.settings(models_file=file, kie_model="fox/one", kie_edit_model="fox/one")
    can = make_providers(settings, defaultdict(lambda: client))["kie"].capabilities
    assert (can.aspects, can.counts, can.edit, can.max_prompt) == (("1:1", "3:2"), 2, False, 99)


def test_the_command_tells_all_models_and_refuses_a_wrong_file(tmp_path: Path) -> None:
    def run(**env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.cli", "models"]
        root = str(Path(__file__).parents[2])
        return subprocess.run(
            command, env={"PYTHONPATH": root, **env}, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )

    narrow, wide = run(COLUMNS="80").stdout.splitlines(), run(COLUMNS="200").stdout.splitlines()
    assert max(map(len, narrow)) <= 80 < max(map(len, wide)) <= 120
    assert " ".join(" ".join(narrow).split()) == " ".join(" ".join(wide).split())
    at = narrow.index("Nano Banana 2.1 (nano-banana-2-1): Quick all-rounder, edits by words")
    assert narrow[at + 1 : at + 4] == [
        "  kie: nano-banana-2-1",
        "    1:1 3:2 2:3 16:9 9:16 4:3 3:4 4:5 21:9; 14 pictures to change; 5,000",
        "      characters",
    ]
    assert narrow[at + 4] == "    0.02 USD a picture (1K): kie.ai OpenAPI, 2026-10-06"
    at = narrow.index("YandexART (yandexart): Short prompts in Russian")
    assert narrow[at + 3] == "    price not known"
    file = tmp_path / "models.toml"
    file.write_text(ENTRY.replace('"kie"', '"nobody"'))
    wrong = run(MODELS_FILE=str(file))
    assert (wrong.returncode, wrong.stdout) == (78, "")
    assert f"{file}:6: fox: there is no provider 'nobody'" in wrong.stderr
