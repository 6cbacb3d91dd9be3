"""Debian's Chromium, driven over its DevTools protocol: as much of it as the tests of pages need."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_UP_SECONDS = 40.0
_WAIT_SECONDS = 20.0


class Page:
    """One page. What goes wrong on it is in `errors`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.errors: list[str] = []

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        await self._socket.send_json({"id": number, "method": method, "params": parameters, **session})
        async for message in self._socket:
            said = json.loads(message.data)
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"]["text"])
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])
            if said.get("id") == number:
                assert "error" not in said, said["error"]
                return dict(said["result"])
        raise ConnectionError("Chromium has ended")

    async def open(self, url: str, *, width: int, height: int, dark: bool) -> None:
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._call("Runtime.enable")
        await self._call("Log.enable")
        phone = width < 700
        await self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._call("Emulation.setEmulatedMedia", features=[scheme])
        await self._call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = await self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def wait(self, script: str) -> Any:
        """The value of an expression once it is true."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not (value := await self.run(script)):
                await asyncio.sleep(0.05)
        return value

    async def click(self, words: str) -> None:
        """Click the visible button with these words, or of that label; while a dialog is open, one of its own."""
        await self.wait(
            "(() => { const within = document.querySelector('dialog[open]') || document; "
            "const found = [...within.querySelectorAll('button')].find((b) => b.checkVisibility() && "
            f"(b.textContent + ' ' + (b.ariaLabel || '')).includes({json.dumps(words)})); "
            "if (found) found.click(); return Boolean(found); })()"
        )

    async def screenshot(self, file: Path) -> None:
        shot = await self._call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Page]:
    """A page of a new Chromium that keeps its things in `folder`."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "--no-first-run", "about:blank"),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(_UP_SECONDS):
            while b"DevTools listening on " not in (line := await process.stderr.readline()):
                assert line, "Chromium did not start"
        address = line.decode().partition("listening on ")[2].strip()
        async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        await process.wait()
