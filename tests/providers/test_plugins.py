"""An installed package, which is README's example, offers a provider: it is found, set up, asked, and stands in the line
of those that fail over."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import dramatiq
import pytest
import redis
from aiohttp import web
from aiohttp.test_utils import TestServer
from dramatiq.brokers.stub import StubBroker
from PIL import Image

from src import settings
from src.app import App, open_app
from src.jobs import Job, Ledger, State
from src.pipeline import submit
from src.pipeline.leases import Work
from src.pipeline.queues import QUEUES
from src.providers.base import ErrorKind, GenRequest, ImageRef, ProviderError
from src.settings import SettingsError, load_settings, table
from tests.jobs.states import admitted, claimed

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SOURCE = README.partition("## Add a provider")[2].partition("```python\n")[2].partition("```")[0]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a package in it, as pip leaves it."""
    (tmp_path / "foxpaint.py").write_text(SOURCE)
    info = tmp_path / "foxpaint-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foxpaint\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[imagebot.providers]\nfoxpaint = foxpaint:PROVIDER\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foxpaint", raising=False)
    found = (settings.provider_clients, settings.settings_class)
    for cached in found:
        cached.cache_clear()
    yield info
    monkeypatch.undo()
    for cached in found:
        cached.cache_clear()


@pytest.fixture
def paintings() -> list[Any]:
    """What Foxpaint was asked: the key and the body."""
    return []


@pytest.fixture
async def foxpaint(paintings: list[Any]) -> AsyncIterator[str]:
    """Foxpaint's server."""

    async def draw(request: web.Request) -> web.Response:
        paintings.append((request.headers["Authorization"], await request.json()))
        out = io.BytesIO()
        Image.new("RGB", (64, 64), "orange").save(out, "PNG")
        return web.Response(body=out.getvalue(), content_type="image/png")

    server = web.Application()
    server.router.add_post("/draw", draw)
    async with TestServer(server) as running:
        yield str(running.make_url("")).rstrip("/")


@pytest.fixture
async def app(installed: Path, redis_url: str, foxpaint: str) -> AsyncIterator[App]:
    broker = StubBroker()
    for queue in QUEUES:
        broker.declare_queue(queue)
    previous = dramatiq.get_broker()
    dramatiq.set_broker(broker)
    keys = dict.fromkeys(("kie_api_key", "openai_api_key", "foxpaint_api_key"), "a-secret-of-a-test")
    async with open_app(load_settings(redis_url=redis_url, foxpaint_base_url=foxpaint, **keys)) as made:
        yield made
    dramatiq.set_broker(previous)


def _work(app: App) -> Work:
    return Work(app, cast(Any, None), cast(Any, None))


async def test_its_settings_are_read_checked_masked_and_in_the_table(
    installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENV_FILE", ".env")
    (tmp_path / ".env").write_text("FOXPAINT_API_KEY=fox-secret\nPROVIDER=foxpaint\n")
    found = load_settings()
    assert found.providers == ("foxpaint",)
    assert "fox-secret" in found.secrets()
    assert "fox-secret" not in repr(found)
    assert "| `FOXPAINT_MODEL` | `fox-1` | Its model. |" in table()
    monkeypatch.setenv("FOXPAINT_CONCURRENCY", "0")
    with pytest.raises(SettingsError, match="FOXPAINT_CONCURRENCY"):
        load_settings()


async def test_it_makes_a_picture(app: App, sync_redis: redis.Redis, paintings: list[Any]) -> None:
    assert (list(app.providers), app.cap("foxpaint")) == (["openai", "kie", "foxpaint"], 3)
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    job = claimed(ledger, job_id, "submit")
    await submit.begin(work := _work(app), replace(job, provider="foxpaint"))
    await work.drain(20)
    assert paintings == [("Bearer a-secret-of-a-test", {"model": "m", "prompt": "a fox"})]
    job = cast(Job, await app.ledger.job(job_id))
    assert job.state is State.READY
    data = await app.blobs.get(f"originals/{job_id}")
    picture = await app.providers["foxpaint"].fetch(ImageRef(data=data))
    assert (picture.mime, picture.width) == ("image/png", 64)


class Refusing:
    """A provider whose key is bad."""

    def __init__(self, name: str, like: Any) -> None:
        self.name, self.capabilities = name, like.capabilities
        self.asked = 0

    async def submit(self, request: GenRequest) -> Any:
        self.asked += 1
        raise ProviderError(ErrorKind.AUTH)


async def test_of_three_that_fail_each_is_asked_once(app: App, sync_redis: redis.Redis) -> None:
    for name, provider in app.providers.items():
        app.providers[name] = cast(Any, Refusing(name, provider))
    ledger = Ledger(sync_client=sync_redis)
    (job_id,) = admitted(ledger)
    for _ in range(3):
        await submit.begin(work := _work(app), claimed(ledger, job_id, "submit"))
        await work.drain(20)
    job = cast(Job, await app.ledger.job(job_id))
    assert (job.state, job.kind, job.failovers) == (State.FAILED, "auth", ("kie", "openai", "foxpaint"))
    assert [cast(Refusing, p).asked for p in app.providers.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("kie = foxpaint:Foxpaint\nsecond = foxpaint:Foxpaint", "Two packages offer a provider foxpaint"),
        ("foxpaint = foxpaint:Nothing", "The provider foxpaint \\(foxpaint:Nothing\\) cannot be loaded"),
    ],
)
def test_what_is_wrong_with_a_package_is_said(installed: Path, points: str, told: str) -> None:
    (installed / "entry_points.txt").write_text(f"[imagebot.providers]\n{points}\n")
    with pytest.raises(SettingsError, match=told):
        load_settings()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('    name, settings = "foxpaint", FoxSettings\n', "has no attribute 'name'"),
        ("    foxpaint_rate: ", "its settings lack foxpaint_rate"),
    ],
)
def test_what_a_package_leaves_out_is_said(installed: Path, line: str, told: str) -> None:
    assert line in SOURCE
    lines = SOURCE.splitlines(keepends=True)
    kept = [text for text in lines if not text.startswith(line)]
    (installed.parent / "foxpaint.py").write_text("".join(kept))
    with pytest.raises(SettingsError, match=told):
        load_settings()
