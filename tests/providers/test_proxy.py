"""The way out through a proxy, of both kinds: providers, their results, Telegram; what it may not be asked for, and a
server's own certificates."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiogram.exceptions import TelegramNetworkError
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from src.limits import Limiter
from src.providers import make_providers
from src.providers.base import Done, ErrorKind, GenRequest, ProviderError
from src.providers.http import exchange, make_client, make_clients
from src.providers.results import ResultHosts, fetch_image
from src.sandbox.telegram import DEMO_TOKEN, TelegramSandbox
from src.settings import DIRECT, SettingsError, load_settings
from src.telegram.client import make_bot
from tests.providers.test_results import Resolver
from tests.proxies import PASSWORD, SmallProxy, small_proxy
from tests.servers import Certificates

if TYPE_CHECKING:
    from src.settings import Settings
    from tests.providers.conftest import Edge

KINDS = ("http", "socks5")


@pytest.fixture
async def proxy() -> AsyncIterator[SmallProxy]:
    async with small_proxy() as made:
        yield made


async def painted(settings: Settings, name: str) -> int:
    """Make a picture at that provider, over the clients that `open_app` makes; its width."""
    clients = make_clients(settings)
    try:
        provider = make_providers(settings, clients)[name]
        answer = await provider.submit(GenRequest("job-1", "a fox", getattr(settings, f"{name}_model")))
        done = answer if isinstance(answer, Done) else await provider.poll(answer)
        assert isinstance(done, Done)
        return (await provider.fetch(done.image)).width
    finally:
        for client in set(clients.values()):
            await client.aclose()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_picture_comes_through_it_whose_names_only_it_knows(
    edge: Edge, proxy: SmallProxy, kind: str
) -> None:
    proxy.names["api.nowhere.invalid"] = "127.0.0.1"
    base = edge.base.replace("127.0.0.1", "api.nowhere.invalid")
    there = {"kie_base_url": f"{base}/kie", "kie_upload_url": f"{base}/kie-upload"}
    assert await painted(edge.settings(proxy_url=proxy.url(kind), **there), "kie") == 1024
    # One connection for the task, the poll and the picture.
    assert proxy.asked == [base.removeprefix("http://")]


async def test_each_provider_may_have_its_own_way(edge: Edge, proxy: SmallProxy) -> None:
    settings = edge.settings(
        proxy_url="http://127.0.0.1:1", kie_proxy_url=DIRECT, openai_proxy_url=proxy.url("socks5")
    )
    assert [await painted(settings, name) for name in ("kie", "openai")] == [1024, 1024]
    assert len(proxy.asked) == 1
    with pytest.raises(ProviderError) as caught:
        await painted(settings, "openrouter")
    assert (caught.value.kind, caught.value.code, caught.value.submitted) == (
        ErrorKind.NETWORK,
        "proxy",
        False,
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_what_it_does_not_do_is_told_and_nothing_was_submitted(
    edge: Edge, proxy: SmallProxy, kind: str
) -> None:
    nowhere = {"openai_base_url": "http://nobody.invalid/v1"}
    for settings in (
        edge.settings(proxy_url=proxy.url(kind, "fox:wrong")),
        edge.settings(proxy_url=proxy.url(kind, "")),
        edge.settings(proxy_url=proxy.url(kind), **nowhere),
        edge.settings(proxy_url=f"{kind}://127.0.0.1:1"),
    ):
        with pytest.raises(ProviderError) as caught:
            await painted(settings, "openai")
        error = caught.value
        assert (error.kind, error.code, error.submitted) == (ErrorKind.NETWORK, "proxy", False)
        assert "wrong" not in repr(error)
    assert proxy.strangers == 2
    assert not edge.openai.audit.submits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["inside.example.com", "10.0.0.7", "both.example.com"])
async def test_it_is_not_asked_for_what_is_known_to_be_private(
    edge: Edge, proxy: SmallProxy, kind: str, host: str
) -> None:
    proxy.names[host] = "127.0.0.1"
    addresses = {"both.example.com": ("1.1.1.1", "10.0.0.7")}.get(host, ("10.0.0.7",))
    settings = edge.settings(proxy_url=proxy.url(kind))
    async with make_client(settings, settings.way("kie"), resolver=Resolver(*addresses)) as client:
        with pytest.raises(ProviderError) as caught:
            await fetch_image(
                client, ResultHosts((), (".example.com", host)), f"https://{host}/a.png", limit=1_000
            )
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_RESULT, "private_address")
    assert proxy.asked == []


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """The port of a server whose certificate is localhost's, and who vouches for it."""
    made = Certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)

    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/", answer)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=context)
    yield server.port or 0, made.authority
    await server.close()


async def test_a_name_has_to_have_its_certificate_also_behind_a_proxy(
    edge: Edge, proxy: SmallProxy, secure: tuple[int, Path]
) -> None:
    """Where a proxy's own answer leads inside, no server there has a certificate for the name."""
    port, authority = secure
    proxy.names["files.nowhere.invalid"] = "127.0.0.1"
    ways = (proxy.url("http"), proxy.url("socks5"), DIRECT)
    for host, ca_file, way, told in (
        *(("localhost", authority, way, "") for way in ways),
        *(("localhost", None, way, "tls") for way in ways),
        *(("files.nowhere.invalid", authority, way, "tls") for way in ways[:2]),
    ):
        url = f"https://{host}:{port}"
        settings = edge.settings(proxy_url=way, kie_ca_file=ca_file, kie_base_url=url)
        async with make_client(settings, settings.way("kie")) as client:
            code, submitted = "", False
            try:
                await exchange(client, "POST", url, headers={}, seconds=5, limit=99, creates=True)
            except ProviderError as error:
                code, submitted = error.code, error.submitted
        assert (code, submitted) == (told, False), (host, way)


@pytest.mark.parametrize("kind", KINDS)
async def test_telegram_too(proxy: SmallProxy, kind: str) -> None:
    proxy.names["api.telegram.invalid"] = "127.0.0.1"
    async with TelegramSandbox() as sandbox:
        url = sandbox.url.replace("127.0.0.1", "api.telegram.invalid")
        settings = load_settings(telegram_token=DEMO_TOKEN, telegram_api_url=url, proxy_url=proxy.url(kind))
        bot = make_bot(settings, Limiter())
        assert (await bot.get_me()).is_bot
        await bot.session.close()
        assert proxy.asked == [url.removeprefix("http://")]
        bot = make_bot(
            settings.model_copy(update={"proxy_url": SecretStr(f"{kind}://127.0.0.1:1")}), Limiter()
        )
        with pytest.raises(TelegramNetworkError):
            await bot.get_me()
        with pytest.raises(aiohttp.ClientConnectionError):
            await bot.download_file("photos/1.jpg")
        await bot.session.close()


def test_its_password_is_a_secret() -> None:
    url = f"socks5://fox:{PASSWORD.replace('%', '%25')}@proxy.example:1080"
    settings = load_settings(_env_file=None, proxy_url="http://proxy.example:3128", kie_proxy_url=url)
    assert {PASSWORD, url} <= set(settings.secrets())
    assert "fox" not in repr(settings)
    assert "fox" not in repr(settings.way("kie"))
    assert settings.way("kie").shown == "proxy.example:1080"
    assert settings.way("telegram").shown == "proxy.example:3128"
    assert (
        load_settings(_env_file=None, proxy_url=url, telegram_proxy_url=DIRECT).way("telegram").proxy is None
    )


@pytest.mark.parametrize("url", ["ftp://a:1", "http://a", "socks5://a:x", "http://a:1/path", "secret"])
def test_what_is_no_proxy_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="OPENAI_PROXY_URL: expected http://host:port") as caught:
        load_settings(_env_file=None, openai_proxy_url=url)
    assert url not in str(caught.value)


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="KIE_CA_FILE: expected a readable file"):
        load_settings(_env_file=None, kie_ca_file=tmp_path / "nothing.pem")
