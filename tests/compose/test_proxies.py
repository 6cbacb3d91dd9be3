"""The proxies of compose/proxy/, run for real before a real api: what comes in, what it is told, and what is kept out."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from src.api.edits import LARGEST_FORM
from src.providers.images import SOURCE_MAX_BYTES
from tests.compose.test_units import FOLDER
from tests.servers import Certificates, free_port
from tests.system import System, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "a-password-of-the-page"
KEY = "a-key-of-the-shop"
PROXY = FOLDER.parent / "proxy"


def caddy(folder: Path, certificates: Certificates, api: int, port: int) -> list[str]:
    site = (PROXY / "Caddyfile").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{api}")
    # Who vouches for it differs, and where it listens.
    tls = f"localhost:{port} {{\n\ttls {certificates.certificate} {certificates.key}"
    site = site.replace("bot.example.com {", tls)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def nginx(folder: Path, certificates: Certificates, api: int, port: int) -> list[str]:
    site = (PROXY / "nginx.conf").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{api}")
    site = re.sub(r"/etc/letsencrypt\S+/fullchain.pem", str(certificates.certificate), site)
    site = re.sub(r"/etc/letsencrypt\S+/privkey.pem", str(certificates.key), site)
    site = re.sub(r"\[::\]:443|443", lambda at: f"[::]:{port}" if "::" in at[0] else str(port), site)
    site = re.sub(r"listen (\[::\]:)?80;", lambda at: f"listen {at[1] or ''}{free_port()};", site)
    site = site.replace("bot.example.com", "localhost")
    # As Debian's nginx.conf has them.
    (folder / "nginx.conf").write_text(
        f"user root; pid {folder}/pid; events {{}} http {{ access_log off; {site} }}"
    )
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-e", str(folder / "log"), "-g", "daemon off;"]


PROXIES = {"caddy": caddy, "nginx": nginx}


class Setting:
    def __init__(self, system: System, certificates: Certificates, port: int, api: int) -> None:
        self.system = system
        self.port = port
        self.api = api
        self.context = ssl.create_default_context(cafile=certificates.authority)

    def client(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """Somebody at that address."""
        transport = httpx.AsyncHTTPTransport(verify=self.context, local_address=address)
        return httpx.AsyncClient(transport=transport, base_url=f"https://localhost:{self.port}", timeout=60)


@pytest.fixture(scope="module", params=PROXIES)
def kind(request: pytest.FixtureRequest) -> str:
    path = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which(request.param, path=path) is None:
        pytest.skip(f"needs {request.param}")
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(kind: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp(kind)
    certificates = Certificates(folder)
    api, port = free_port(), free_port()
    settings = {
        "WEBHOOK_URL": f"https://localhost:{port}",
        "WEBHOOK_SECRET": "a-secret-of-the-webhook",
        "STATUS_PASSWORD": PASSWORD,
        "API_KEYS": f"shop:{KEY}",
    }
    with pytest.MonkeyPatch.context() as patch:
        # The sandbox's Telegram trusts who vouches for the proxy.
        patch.setenv("SSL_CERT_FILE", str(certificates.authority))
        async with running(folder, **settings) as system:
            await system.start_api(api)
            with served(PROXIES[kind](folder, certificates, api, port), folder):
                await system.until(lambda: listens(port))
                yield Setting(system, certificates, port, api)


@contextmanager
def served(command: list[str], folder: Path) -> Iterator[None]:
    path = f"{os.environ['PATH']}:/usr/sbin"
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen(command, env={"HOME": str(folder), "PATH": path}, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_telegram_calls_through_it(setting: Setting) -> None:
    person = setting.system.person()
    await person.send_text("a red fox")
    await setting.system.picture(person)
    async with setting.client() as stranger:
        answer = await stranger.post("/telegram/webhook", json={"update_id": 1})
    assert answer.status_code == 401


async def test_what_every_answer_says(setting: Setting) -> None:
    async with setting.client() as person:
        answers = [await person.get(path) for path in ("/livez", "/app", "/nothing", "/v1/images/x")]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 401]
    for answer in answers:
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert not re.search(r"\d|uvicorn", answer.headers.get("server", ""))
    assert "content-security-policy" in answers[1].headers


async def test_http_2(setting: Setting) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", setting.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as spoken,
    ):
        assert spoken.selected_alpn_protocol() == "h2"


async def test_the_biggest_picture_comes_in_and_no_more(setting: Setting) -> None:
    file = io.BytesIO()
    Image.frombytes("RGB", (2400, 2400), os.urandom(2400 * 2400 * 3)).save(file, "PNG")
    assert 15_000_000 < len(file.getvalue()) < SOURCE_MAX_BYTES
    headers = {"Authorization": f"Bearer {KEY}"}
    form = {"prompt": "add a hat"}
    async with setting.client() as shop:

        async def post(content: bytes) -> httpx.Response:
            image = {"image": ("fox.png", content)}
            return await shop.post("/v1/images/edits", headers=headers, data=form, files=image)

        answer = await post(file.getvalue())
        assert answer.status_code == 202, answer.text
        # Caddy may hang up on who goes on sending after the answer.
        with suppress(httpx.ReadError, httpx.WriteError):
            answer = await post(bytes(SOURCE_MAX_BYTES + 1_000_000))
            assert answer.status_code == 413


async def test_nginx_takes_what_the_api_takes() -> None:
    assert f"client_max_body_size {LARGEST_FORM};" in (PROXY / "nginx.conf").read_text()


async def test_the_status_page_is_for_few_and_counts_each_alone(setting: Setting) -> None:
    right, wrong = httpx.BasicAuth("me", PASSWORD), httpx.BasicAuth("me", "wrong")
    async with setting.client("127.0.0.2") as guesser, setting.client("127.0.0.3") as owner:
        for number in range(6):
            # As if each time from elsewhere.
            forged = {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
            answer = await guesser.get("/status.json", auth=wrong, headers=forged)
        assert answer.status_code == 429
        assert (await guesser.get("/status.json", auth=right)).status_code == 429
        assert (await owner.get("/status.json", auth=right)).status_code == 200


async def test_while_the_api_is_away_telegram_keeps_what_came(setting: Setting) -> None:
    system = setting.system
    assert await system.stop("api") == 0
    person = system.person("Bob")
    await person.send_text("a blue fox")
    async with setting.client() as someone:
        answer = await someone.get("/livez")
    assert answer.status_code == 502
    await system.start_api(setting.api)
    await system.picture(person)
