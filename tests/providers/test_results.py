"""Fetching results: no way from a provider's answer into our own network, and no key to strangers."""

from __future__ import annotations

import gzip
import io
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import yarl
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from src.providers.base import ErrorKind, ImageBytes, Picture, ProviderError
from src.providers.http import make_client
from src.providers.network.addresses import PrivateAddressError, is_public
from src.providers.network.transport import PublicResolver
from src.providers.results import ResultHosts, fetch_image, open_image

if TYPE_CHECKING:
    from tests.providers.conftest import Edge

HOSTS = ResultHosts(
    ("http://10.0.0.5:8080/v1",), ("files.example.com", ".cdn.example.com", "169.254.169.254")
)

# Where nothing else listens, on this machine.
_PUBLIC = "127.0.0.2"


class Resolver(AbstractResolver):
    """Answers with all the given addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=a, port=port, family=socket.AF_INET, proto=0, flags=0)
            for a in self.addresses
        ]

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5:8080/files/a.png",
        "https://files.example.com/a.png",
        "https://FILES.example.com./a.png",
        "https://files.example.com:443/a.png",
        "https://a.b.cdn.example.com/a.png?token=1",
        "https://cdn.example.com/a.png",
    ],
)
def test_lets_known_hosts_pass(url: str) -> None:
    HOSTS.check(httpx.URL(url))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://files.example.com/a.png", "not_https"),
        ("https://files.example.com:8443/a.png", "not_https"),
        ("https://evil.com/files.example.com", "foreign_host"),
        ("https://files.example.com.evil.com/", "foreign_host"),
        ("https://evilcdn.example.com/", "foreign_host"),
        ("https://user:pw@files.example.com/", "bad_url"),
        ("https://files.example.com@evil.com/", "bad_url"),
        ("ftp://files.example.com/", "bad_url"),
        ("file:///etc/passwd", "bad_url"),
        ("/relative.png", "bad_url"),
        ("http://10.0.0.5:6379/", "foreign_host"),
        ("https://10.0.0.5:8080/", "foreign_host"),
        ("https://169.254.169.254/latest/meta-data/", "private_address"),
        ("https://127.0.0.1/", "foreign_host"),
        ("https://[::1]/", "foreign_host"),
        ("https://2130706433/", "foreign_host"),
        ("https://localhost/", "foreign_host"),
    ],
)
def test_stops_everything_else(url: str, code: str) -> None:
    with pytest.raises(ProviderError) as caught:
        HOSTS.check(httpx.URL(url))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_RESULT, code)


pieces = st.sampled_from(
    ["https://", "http://", "files.example.com", "evil.com", "@", ":", "/", "\\", "#", "?", ".", "%2e", "%40", "443",
     "[::1]", "127.0.0.1", " ", "\t", "。", "ſ", "//", ";", "а", "xn--"]
)  # fmt: skip


@given(st.lists(pieces, max_size=8).map(lambda parts: "https://" + "".join(parts)))
def test_what_is_checked_is_what_is_dialled(text: str) -> None:
    """httpx reads the address for the check, aiohttp's yarl for the connection: they must agree."""
    try:
        url = httpx.URL(text)
        HOSTS.check(url)
    except (httpx.InvalidURL, ProviderError):
        return
    dialled = yarl.URL(str(url))
    assert (dialled.host or "").rstrip(".") in ("files.example.com", "cdn.example.com")
    assert (dialled.scheme, dialled.port, dialled.user) == ("https", 443, None)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::101:101", True),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_knows_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_the_resolver_drops_private_addresses() -> None:
    assert [
        entry["host"]
        for entry in await PublicResolver(frozenset(), Resolver("10.0.0.1", "1.1.1.1")).resolve(
            "a.example", 443
        )
    ] == ["1.1.1.1"]
    with pytest.raises(PrivateAddressError):
        await PublicResolver(frozenset(), Resolver("10.0.0.1", "::1")).resolve("a.example", 443)
    trusted = PublicResolver(frozenset({"gateway"}), Resolver("10.0.0.1"))
    assert (await trusted.resolve("gateway", 443))[0]["host"] == "10.0.0.1"


class Server:
    """A server that must not be reached, or is reached without a key."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        out = io.BytesIO()
        Image.new("RGB", (8, 8)).save(out, "PNG")
        return web.Response(body=out.getvalue())


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    mine = Server()
    app = web.Application()
    app.router.add_get("/{any:.*}", mine.handle)
    async with TestServer(app) as started:
        mine.url = str(started.make_url("/a.png"))
        yield mine


async def test_a_known_name_that_leads_inside_is_refused_on_the_connection(
    edge: Edge, server: Server
) -> None:
    resolver = Resolver("127.0.0.1")
    async with make_client(edge.settings(), resolver=resolver) as client:
        with pytest.raises(ProviderError) as caught:
            await fetch_image(client, HOSTS, "https://files.example.com/a.png", limit=1_000_000)
    assert caught.value.code == "private_address"
    assert resolver.asked == ["files.example.com"]
    assert server.headers == []


class Rebinding(Resolver):
    """Answers with the given addresses one after another: a stranger's name server, asked again."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        return [found[min(len(self.asked), len(found)) - 1]]


@pytest.fixture
def one_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes an address of this machine for public."""
    monkeypatch.setattr("src.providers.network.transport.is_public", lambda address: address == _PUBLIC)


@pytest.fixture
async def outside(server: Server, one_is_public: None) -> AsyncIterator[Server]:
    """A server on the internet, at the port at which `server` is inside."""
    reached = Server()
    app = web.Application()
    app.router.add_get("/{any:.*}", reached.handle)
    async with TestServer(app, host=_PUBLIC, port=yarl.URL(server.url).port):
        yield reached


async def test_a_name_that_moves_inside_after_its_check_is_not_followed(
    edge: Edge, server: Server, outside: Server
) -> None:
    url = str(yarl.URL(server.url).with_host("rebinding.example"))
    hosts = ResultHosts((url,), ())
    resolver = Rebinding(_PUBLIC, "127.0.0.1")
    async with make_client(edge.settings(), resolver=resolver) as client:
        # Where the address is checked by one question and dialled by another, the second answer is inside.
        assert (await fetch_image(client, hosts, url, limit=1_000_000)).width == 8
        assert resolver.asked == ["rebinding.example"]
    # Another client, since each remembers an answer for ten seconds.
    async with make_client(edge.settings(), resolver=resolver) as client:
        with pytest.raises(ProviderError) as caught:
            await fetch_image(client, hosts, url, limit=1_000_000)
    assert caught.value.code == "private_address"
    assert (len(outside.headers), server.headers) == (1, [])


async def test_a_name_with_an_address_inside_for_when_the_other_does_not_answer(
    edge: Edge, server: Server, one_is_public: None
) -> None:
    url = str(yarl.URL(server.url).with_host("rebinding.example"))
    async with make_client(edge.settings(), resolver=Resolver(_PUBLIC, "127.0.0.1")) as client:
        with pytest.raises(ProviderError) as caught:
            await fetch_image(client, ResultHosts((url,), ()), url, limit=1_000_000)
    assert (caught.value.kind, server.headers) == (ErrorKind.NETWORK, [])


async def test_no_key_goes_to_where_results_are(edge: Edge, server: Server) -> None:
    hosts = ResultHosts((server.url,), ())
    async with make_client(edge.settings()) as client:
        image = await fetch_image(client, hosts, server.url, limit=1_000_000)
    assert image.width == 8
    assert not {"Authorization", "Cookie", "X-Key"} & set(server.headers[0])


async def test_own_network_needs_the_operators_word(edge: Edge, server: Server) -> None:
    for private, reached in ((False, 0), (True, 1)):
        settings = edge.settings(allow_private_hosts=private)
        hosts = ResultHosts((), ("127.0.0.1",), private=private)
        async with make_client(settings) as client:
            if private:
                await fetch_image(client, hosts, server.url, limit=1_000_000)
            else:
                with pytest.raises(ProviderError):
                    await fetch_image(client, hosts, server.url, limit=1_000_000)
        assert len(server.headers) == reached


async def test_the_cap_holds_for_announced_and_unannounced_lengths(edge: Edge, server: Server) -> None:
    async with make_client(edge.settings()) as client:
        with pytest.raises(ProviderError) as caught:
            await fetch_image(client, ResultHosts((server.url,), ()), server.url, limit=10)
    assert caught.value.code == "too_large"


def _noise(side: int = 400) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 100).save(out, "PNG")
    return out.getvalue()


@asynccontextmanager
async def _cdn(body: bytes, *, chunked: bool = False) -> AsyncIterator[tuple[str, ResultHosts, list[int]]]:
    """A server of one file; how many bytes it has sent at each request."""
    sent: list[int] = []

    async def file(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if not chunked:
            response.content_length = len(body)
        await response.prepare(request)
        sent.append(0)
        for start in range(0, len(body), 10_000):
            await response.write(body[start : start + 10_000])
            sent[-1] += len(body[start : start + 10_000])
        return response

    app = web.Application()
    app.router.add_get("/file.png", file)
    async with TestServer(app) as server:
        base = str(server.make_url("")).rstrip("/")
        yield f"{base}/file.png", ResultHosts((base,), ()), sent


async def test_a_picture_passes_in_pieces_and_again_when_asked(edge: Edge) -> None:
    body = _noise()
    async with _cdn(body) as (url, hosts, sent), make_client(edge.settings()) as client:
        async with open_image(client, hosts, url, limit=10_000_000) as picture:
            assert (picture.mime, picture.width, picture.height) == ("image/png", 400, 400)
            assert picture.size == len(body)
            assert not isinstance(picture, ImageBytes)
            for _ in range(2):
                pieces = [piece async for piece in picture.pieces()]
                assert b"".join(pieces) == body
                assert len(pieces) > 1
        assert sent == [len(body)] * 2


@pytest.mark.parametrize("spoilt", ["truncated", "not_an_image", "too_large"])
async def test_what_is_wrong_with_a_passing_picture_is_told(edge: Edge, spoilt: str) -> None:
    body = _noise()
    limit = 50_000 if spoilt == "too_large" else 10_000_000
    if spoilt != "too_large":
        body = b"x" * len(body) if spoilt == "not_an_image" else body[: len(body) // 2]
    async with _cdn(body) as (url, hosts, _), make_client(edge.settings()) as client:
        with pytest.raises(ProviderError) as caught:
            await _passed(open_image(client, hosts, url, limit=limit))
    assert (caught.value.kind, caught.value.code) == (ErrorKind.BAD_RESULT, spoilt)


async def _passed(opening: AbstractAsyncContextManager[Picture]) -> bytes:
    async with opening as picture:
        return b"".join([piece async for piece in picture.pieces()])


async def test_without_an_announced_length_a_picture_is_read_whole(edge: Edge) -> None:
    body = _noise()
    async with (
        _cdn(body, chunked=True) as (url, hosts, _),
        make_client(edge.settings()) as client,
        open_image(client, hosts, url, limit=10_000_000) as picture,
    ):
        assert isinstance(picture, ImageBytes)
        assert picture.data == body


async def test_a_picture_that_comes_compressed_is_unpacked_and_its_length_not_believed(edge: Edge) -> None:
    body = _noise()

    async def file(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(body=gzip.compress(body), headers={"Content-Encoding": "gzip"})

    app = web.Application()
    app.router.add_get("/file.png", file)
    async with TestServer(app) as server, make_client(edge.settings()) as client:
        url = str(server.make_url("/file.png"))
        hosts = ResultHosts((url,), ())
        async with open_image(client, hosts, url, limit=len(body)) as picture:
            assert picture.size == len(body)
            assert b"".join([piece async for piece in picture.pieces()]) == body
        with pytest.raises(ProviderError) as caught:
            await fetch_image(client, hosts, url, limit=len(body) - 1)
    assert caught.value.code == "too_large"
