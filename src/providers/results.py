"""Fetching a finished picture from where the provider says it is, trusting nothing it says.

Each hop of a redirect is checked like the first address; no key is ever sent; the connection itself
refuses private addresses (`src.providers.http.PublicResolver`); bytes are capped and sniffed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import httpx

from src.providers.base import ErrorKind, ImageBytes, ProviderError
from src.providers.http import exchange, is_public, kind_of_status
from src.providers.images import inspect

_FETCH_SECONDS = 120.0
_HOPS = 3
_DEFAULT_PORTS = {"http": 80, "https": 443}


class ResultHosts:
    """Where a provider's results may come from.

    Args:
        own: addresses from the settings; their exact origins (scheme, host, port) are allowed as they are.
        known: host names, `.example.com` with its subdomains: https on its usual port only.
        private: the operator let the known hosts be private, on http and on any port.
    """

    def __init__(self, own: Iterable[str], known: Iterable[str], *, private: bool = False) -> None:
        self._own = {_origin(httpx.URL(url)) for url in own}
        self._known = tuple(name.lower() for name in known)
        self._private = private

    def check(self, url: httpx.URL) -> None:
        """Let a good address pass.

        Raises:
            ProviderError: BAD_RESULT, with the code bad_url, foreign_host, not_https or private_address.
        """
        scheme, host, port = _origin(url)
        if scheme not in _DEFAULT_PORTS or not host or url.userinfo:
            raise ProviderError(ErrorKind.BAD_RESULT, "bad_url")
        if (scheme, host, port) in self._own:
            return
        if not any(host == name or (name[:1] == "." and f".{host}".endswith(name)) for name in self._known):
            raise ProviderError(ErrorKind.BAD_RESULT, "foreign_host")
        if self._private:
            return
        if scheme != "https" or port != 443:
            raise ProviderError(ErrorKind.BAD_RESULT, "not_https")
        if _is_literal(host) and not is_public(host):
            # aiohttp does not resolve an address that is a number, so its resolver would not see it.
            raise ProviderError(ErrorKind.BAD_RESULT, "private_address")


async def fetch_image(client: httpx.AsyncClient, hosts: ResultHosts, url: str, *, limit: int) -> ImageBytes:
    """Download a finished picture of at most `limit` bytes and check it.

    Raises:
        ProviderError: BAD_RESULT (address or bytes), NOT_FOUND (gone or expired), or a retryable kind.
    """
    for _ in range(_HOPS + 1):
        target = _parse(url)
        hosts.check(target)
        answer = await exchange(
            client, "GET", str(target), headers={"Accept": "image/*"}, seconds=_FETCH_SECONDS, limit=limit
        )
        if answer.status == 200:
            return inspect(answer.body)
        location = answer.headers.get("location")
        if answer.status in (301, 302, 303, 307, 308) and location:
            url = _join(target, location)
            continue
        if answer.status in (401, 403, 404, 410):
            raise ProviderError(ErrorKind.NOT_FOUND, "result_gone", status=answer.status)
        if answer.status < 400:
            raise ProviderError(ErrorKind.BAD_RESULT, "no_picture", status=answer.status)
        raise ProviderError(
            kind_of_status(answer.status),
            "result_refused",
            status=answer.status,
            retry_after=answer.retry_after,
        )
    raise ProviderError(ErrorKind.BAD_RESULT, "too_many_redirects")


def _parse(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None


def _join(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError):
        raise ProviderError(ErrorKind.BAD_RESULT, "bad_url") from None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    # The raw host: the plain one decodes punycode, and fails on what only looks like it.
    return (
        url.scheme,
        url.raw_host.decode("ascii").lower().rstrip("."),
        url.port or _DEFAULT_PORTS.get(url.scheme),
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
