"""A small proxy of both kinds, which resolves names by its own table: everything it was asked for is kept."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

USER, PASSWORD = "fox", "pass%word"
_ENCODED = "fox:pass%25word"


class SmallProxy:
    """Takes USER and PASSWORD only.

    Attributes:
        asked: `host:port` of each connection, as the client wrote it.
        names: where names lead; what is not in it cannot be reached.
        strangers: connections with no or wrong credentials.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.names: dict[str, str] = {"localhost": "127.0.0.1"}
        self.strangers = 0
        self.port = 0

    def url(self, scheme: str, credentials: str = _ENCODED) -> str:
        return f"{scheme}://{credentials}{'@' if credentials else ''}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            first = await reader.readexactly(1)
            speak = self._socks5 if first == b"\x05" else self._connect
            await speak(first, reader, writer)
        writer.close()

    async def _socks5(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928, with the password of RFC 1929."""
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if 2 not in methods:
            self.strangers += 1
            writer.write(b"\x05\xff")
            return
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if (user, password) != (USER.encode(), PASSWORD.encode()):
            self.strangers += 1
            writer.write(b"\x01\x01")
            return
        writer.write(b"\x01\x00")
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2))
        target = await self._dial(host, port)
        writer.write(bytes((5, 0 if target else 4, 0, 1)) + bytes(6))
        if target:
            await _join(reader, writer, *target)

    async def _connect(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """CONNECT of HTTP/1.1, with Basic."""
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"proxy-authorization: basic {expected}".lower() not in head.lower():
            self.strangers += 1
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = head.split(" ")[1].rpartition(":")
        target = await self._dial(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if target else b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        if target:
            await _join(reader, writer, *target)

    async def _dial(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        self.asked.append(f"{host}:{port}")
        with suppress(OSError):
            leads = self.names.get(host, host if host[:1].isdigit() else None)
            return await asyncio.open_connection(leads, port) if leads else None
        return None


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await source.read(65_536):
                target.write(piece)
                await target.drain()
        target.close()

    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


@asynccontextmanager
async def small_proxy() -> AsyncIterator[SmallProxy]:
    proxy = SmallProxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
