"""Our client against aimock's reading of OpenAI's images API, which nobody here wrote.

Where tests/providers/aimock.sh has not installed it, this is skipped.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from src.providers.base import ErrorKind, GenRequest, ProviderError, SourceImage
from src.providers.http import make_client
from src.providers.openai import OpenAIProvider
from src.settings import load_settings
from tests.bot.bot_world import png

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120)]
_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
TOOLS = Path(os.environ.get("IMAGEBOT_TOOLS") or f"{_CACHE}/imagebot-tools").expanduser()
PROGRAM = TOOLS / "aimock/node_modules/.bin/llmock"
MODEL = "gpt-image-2.5-flare"
REFUSED = {
    "message": "Your request was rejected by our safety system.",
    "type": "image_generation_user_error",
    "code": "moderation_blocked",
}
KEY = {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}


@asynccontextmanager
async def aimock(folder: Path, answers: dict[str, dict[str, Any]]) -> AsyncIterator[str]:
    """A server that answers prompts so; its address."""
    if not PROGRAM.exists():
        pytest.skip("needs tests/providers/aimock.sh")
    rows = [
        {"match": {"endpoint": "image", "userMessage": prompt}, "response": answer}
        for prompt, answer in answers.items()
    ]
    (folder / "answers.json").write_text(json.dumps({"fixtures": rows}))
    process = await create_subprocess_exec(PROGRAM, "-f", folder, "-p", "0", stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = b""
            while not (found := re.search(rb"listening on (http://\S+)", said)):
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
        yield found[1].decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_our_client_against_it(tmp_path: Path) -> None:
    picture = {"image": {"b64Json": base64.b64encode(png()).decode()}}
    answers = {
        "a fox": picture,
        "in snow": picture,
        "refused": {"error": REFUSED, "status": 400},
        "a wrong key": {"error": KEY, "status": 401},
    }
    async with aimock(tmp_path, answers) as url:
        settings = load_settings(_env_file=None, openai_api_key="key", openai_base_url=f"{url}/v1")
        async with make_client(settings) as client:
            provider = OpenAIProvider(settings, client)

            async def made(prompt: str, **more: Any) -> bytes:
                done = await provider.submit(GenRequest("job", prompt, MODEL, deadline=30.0, **more))
                return (await provider.fetch(done.image)).data

            async def kind(prompt: str) -> ErrorKind:
                with pytest.raises(ProviderError) as caught:
                    await made(prompt)
                assert not caught.value.submitted
                return caught.value.kind

            assert (await provider.check()).ok
            assert await made("a fox", user_hash="ab12", aspect="16:9") == png()
            assert await made("in snow", sources=(SourceImage(png(), "image/png"),)) == png()
            assert await kind("refused") is ErrorKind.MODERATED_INPUT
            assert await kind("a wrong key") is ErrorKind.AUTH
