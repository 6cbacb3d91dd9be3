"""Our client through the LiteLLM proxy, which nobody here wrote, to OpenAI's stand-in behind it.

Where tests/providers/litellm.sh has not installed it, this is skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from asyncio.subprocess import Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from src.providers.base import ErrorKind, GenRequest, ProviderError, SourceImage
from src.providers.catalog import get_catalog
from src.providers.http import make_client
from src.providers.openai import OpenAIProvider
from tests.providers.conftest import KEY, Edge

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]
_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
VENV = Path(os.environ.get("IMAGEBOT_TOOLS") or f"{_CACHE}/imagebot-tools").expanduser() / "litellm"
MODEL = "gpt-image-2.5-flare"
OURS = "sk-of-the-proxy"


@asynccontextmanager
async def litellm(edge: Edge, folder: Path) -> AsyncIterator[str]:
    """A proxy that has one model, at the stand-in; its address."""
    if not (VENV / "whole").exists():
        pytest.skip("needs tests/providers/litellm.sh")
    behind = {"model": f"openai/{MODEL}", "api_base": f"{edge.base}/openai/v1", "api_key": KEY}
    config = folder / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": MODEL, "litellm_params": behind}],
                "general_settings": {"master_key": OURS},
            }
        )
    )
    env = {
        **os.environ,
        "CONFIG_FILE_PATH": str(config),
        # It reads its list of prices from GitHub otherwise.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with socket.create_server(("127.0.0.1", 0)) as listening, (folder / "log").open("wb") as log:
        number = listening.fileno()
        process = await create_subprocess_exec(
            VENV / "bin/python", "-m", "uvicorn", "litellm.proxy.proxy_server:app", "--fd", str(number),
            pass_fds=[number], env=env, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            await _up(process, url, folder / "log")
            yield url
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _up(process: Process, url: str, log: Path) -> None:
    """It takes 17 s where nothing else runs."""
    async with asyncio.timeout(200), httpx.AsyncClient(timeout=200) as client:
        # The socket takes the connection before anybody answers on it.
        asked = asyncio.ensure_future(client.get(f"{url}/health/liveliness"))
        died = asyncio.ensure_future(process.wait())
        await asyncio.wait({asked, died}, return_when=asyncio.FIRST_COMPLETED)
        assert not died.done(), log.read_text()[-2000:]
        died.cancel()
        assert (await asked).status_code == 200


async def _error(provider: OpenAIProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.submit(request)
    return caught.value


async def test_our_client_through_it(edge: Edge, tmp_path: Path) -> None:
    async with litellm(edge, tmp_path) as url:
        right, wrong = (
            edge.settings(openai_base_url=f"{url}/v1", openai_gateway="litellm", openai_api_key=key)
            for key in (OURS, "sk-of-nobody")
        )
        ask = GenRequest("job", "a fox", MODEL, aspect="16:9", user_hash="ab12", deadline=60.0)
        async with make_client(right) as client:
            provider, stranger = OpenAIProvider(right, client), OpenAIProvider(wrong, client)
            health = await provider.check()
            assert health.ok
            assert f"has {MODEL}; it is asked as litellm is; pictures" in health.detail
            assert "check OPENAI_API_KEY" in (await stranger.check()).detail

            done = await provider.submit(ask)
            image = await provider.fetch(done.image)
            assert (image.mime, image.width, image.height) == ("image/png", 1536, 864)
            # Its reckoning of the same tokens is ours.
            known = get_catalog().offer("openai", MODEL, None)
            assert known is not None
            assert known.tokens is not None
            counted = {"input_tokens_details": {"text_tokens": 2, "image_tokens": 0}, "output_tokens": 1056}
            assert done.tokens == (2, 1056)
            assert done.costs == (pytest.approx(known.tokens.cost(counted)), "USD")
            source = SourceImage(image.data, image.mime)
            two = GenRequest("job", "in snow", MODEL, sources=(source, source), deadline=60.0)
            assert (await provider.fetch((await provider.submit(two)).image)).width == 1024
            assert edge.openai.audit.sources["in snow"] == 2
            assert edge.openai.audit.charged == {"a fox": 1, "in snow": 1}

            edge.faults.add("moderated")
            refusal = await _error(provider, ask)
            assert (refusal.kind, refusal.submitted) == (ErrorKind.MODERATED_INPUT, False)
            gone = await _error(provider, GenRequest("job", "a fox", "gpt-image-1", deadline=60.0))
            assert gone.kind is ErrorKind.MODEL_GONE
            assert (await _error(stranger, ask)).kind is ErrorKind.AUTH

            edge.faults.add("401")
            assert (await _error(provider, ask)).kind is ErrorKind.AUTH
            # It leaves a model alone whose key was refused.
            assert (await _error(provider, ask)).kind is ErrorKind.RATE_LIMITED
            assert edge.openai.audit.charged == {"a fox": 1, "in snow": 1}
