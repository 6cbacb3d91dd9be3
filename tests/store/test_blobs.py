"""The store of pictures, in a folder and in S3-compatible storage: one behaviour."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.sandbox.s3 import S3Sandbox
from src.settings import SettingsError, load_settings
from src.store.blobs import Blobs, BlobsAway

KEY, SECRET = "AKIA-of-a-test", "secret/of+a-test"


@pytest.fixture
async def s3() -> AsyncIterator[tuple[S3Sandbox, str]]:
    sandbox, app = S3Sandbox("pictures", KEY, SECRET, page=2), web.Application(client_max_size=10**8)
    sandbox.add_to(app)
    async with TestServer(app) as server:
        yield sandbox, str(server.make_url("/")).rstrip("/")


def of_s3(url: str, **other: object) -> Blobs:
    given: dict[str, object] = {
        "blobs_url": "s3://pictures/of/bot",
        "s3_endpoint": url,
        "s3_access_key": KEY,
        "s3_secret_key": SECRET,
    }
    return Blobs(load_settings(**{**given, **other}))


@pytest.fixture(params=["folder", "s3"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path, s3: tuple[S3Sandbox, str]) -> Blobs:
    if request.param == "s3":
        return of_s3(s3[1])
    return Blobs(load_settings(blobs_url=f"file:{tmp_path}/deep/pictures"))


async def test_what_is_put_is_there_until_it_is_deleted(blobs: Blobs) -> None:
    big = bytes(range(256)) * 20_000
    for name in ("originals/one", "originals/two", "originals/three", "uploads/a-b"):
        await blobs.put(name, name.encode())
    await blobs.put("originals/one", big)
    assert await blobs.get("originals/one") == big
    assert await blobs.get("originals/none") is None
    found = {blob.name: blob.size async for blob in blobs.all("originals")}
    assert found == {"originals/one": len(big), "originals/two": 13, "originals/three": 15}
    await blobs.delete("originals/one", "originals/none", "originals/three")
    assert [blob.name async for blob in blobs.all("originals")] == ["originals/two"]
    assert [blob.name async for blob in blobs.all("nothing")] == []


async def test_under_its_prefix_only(s3: tuple[S3Sandbox, str]) -> None:
    sandbox, url = s3
    await of_s3(url).put("originals/one", b"1")
    assert list(sandbox.objects) == ["of/bot/originals/one"]
    assert await of_s3(url).free() is None


@pytest.mark.parametrize("wrong", [{"s3_secret_key": "another"}, {"blobs_url": "s3://others"}])
async def test_a_store_that_refuses_says_why_in_one_line(
    s3: tuple[S3Sandbox, str], wrong: dict[str, object]
) -> None:
    blobs = of_s3(s3[1], **wrong)
    with pytest.raises(BlobsAway) as refused:
        await blobs.put("originals/one", b"1")
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BlobsAway):
        await Blobs(load_settings(blobs_url=f"file:{tmp_path}/file/pictures")).put("originals/one", b"1")


@pytest.mark.parametrize("wrong", ["pictures", "file:pictures", "s3://", "https://host/bucket"])
def test_a_wrong_address_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(SettingsError, match="BLOBS_URL: expected file:/a/folder or s3://"):
        load_settings(blobs_url=wrong)
