"""What `imagebot doctor` says of a provider that is tried for money."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.local.demo import environment
from src.ops.doctor import examine
from src.sandbox.faults import Faults
from src.sandbox.kie import KieSandbox
from src.sandbox.openai import OpenAISandbox


@pytest.fixture
async def vendors(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faults]:
    """The providers' stand-ins, with keys for two of them."""
    faults, app = Faults(), web.Application(client_max_size=64 * 1024 * 1024)
    for part in (
        KieSandbox(faults=faults, durations=(0.1, 0.1)),
        OpenAISandbox(faults=faults, durations=(0.1, 0.1)),
    ):
        part.add_to(app)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        for name, value in environment(url, "redis://localhost:1", Path("unused")).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("POLL_INTERVAL", "0.1")
        yield faults


async def _said_of(provider: str, *, pay: bool) -> tuple[bool, list[str]]:
    lines: list[str] = []
    well = await examine(lines.append, provider, pay=pay)
    return well, lines[1:]


async def test_one_real_picture_and_what_it_cost(vendors: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    well, (checked, made) = await _said_of("kie", pay=True)
    assert well
    assert checked.startswith("ok    kie: ")
    assert re.fullmatch(
        r"ok    kie: nano-banana-2-1 made \d+ x \d+ image/png in \d s; it cost \d+ credits", made
    ), made
    well, (_, made) = await _said_of("openai", pay=True)
    assert well
    assert "made 1024 x 1024 image/png" in made
    assert made.endswith("; neither it nor the catalog says what that cost")
    monkeypatch.setenv("OPENAI_GATEWAY", "openai")
    well, (_, made) = await _said_of("openai", pay=True)
    assert well
    assert made.endswith("; it cost 0.03171 USD"), made
    # Without being asked to pay it asks for no picture.
    _, lines = await _said_of("openai", pay=False)
    assert len(lines) == 1


async def test_a_picture_that_was_not_made_says_why(vendors: Faults) -> None:
    vendors.add("business", path="createTask", times=1, code=402, message="no credits for a grey circle")
    well, (_, made) = await _said_of("kie", pay=True)
    assert not well
    assert made == "WRONG kie: nano-banana-2-1 made no picture: quota (402)"
    vendors.add("fail")
    well, (_, made) = await _said_of("kie", pay=True)
    assert not well
    assert made.startswith("WRONG kie: nano-banana-2-1 made no picture: upstream")


async def test_a_provider_without_a_key_and_one_that_is_none(vendors: Faults) -> None:
    assert (await _said_of("openrouter", pay=True))[1] == [
        "WRONG openrouter: has no key: set OPENROUTER_API_KEY"
    ]
    assert "there is no such provider, only openai, " in (await _said_of("nobody", pay=True))[1][0]
