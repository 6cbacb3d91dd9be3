"""One server with all providers' stand-ins, and our clients aimed at it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from src.providers.http import make_client
from src.providers.kie import KieProvider
from src.providers.openai import OpenAIProvider
from src.sandbox.a1111 import A1111Sandbox
from src.sandbox.comfyui import ComfyUISandbox
from src.sandbox.fal import FalSandbox
from src.sandbox.faults import Faults
from src.sandbox.gemini import GeminiSandbox
from src.sandbox.gigachat import GigaChatSandbox
from src.sandbox.kie import KieSandbox
from src.sandbox.openai import OpenAISandbox
from src.sandbox.openrouter import OpenRouterSandbox
from src.sandbox.pictures import PictureMaker
from src.sandbox.replicate import ReplicateSandbox
from src.sandbox.yandexart import FOLDER, YandexARTSandbox
from src.settings import Settings, load_settings

KEY = "sk-proj-NeverShownAnywhere123"
GIGACHAT_KEY = "Zm94OnNlY3JldA=="


@dataclass
class Edge:
    """The stand-ins and where they are."""

    base: str
    faults: Faults
    openai: OpenAISandbox
    kie: KieSandbox
    openrouter: OpenRouterSandbox
    comfyui: ComfyUISandbox
    gemini: GeminiSandbox
    fal: FalSandbox
    replicate: ReplicateSandbox
    a1111: A1111Sandbox
    yandexart: YandexARTSandbox
    gigachat: GigaChatSandbox

    def settings(self, **overrides: Any) -> Settings:
        return self._settings(**overrides) if overrides else self._plain

    @functools.cached_property
    def _plain(self) -> Settings:
        # Client and provider are each made with them: looking up 150 variables takes as long as some tests.
        return self._settings()

    def _settings(self, **overrides: Any) -> Settings:
        return load_settings(
            **{
                "_env_file": None,
                "openai_api_key": KEY,
                "openai_base_url": f"{self.base}/openai/v1",
                "kie_api_key": KEY,
                "kie_base_url": f"{self.base}/kie",
                "kie_upload_url": f"{self.base}/kie-upload",
                "kie_webhook_key": "callback-key",
                "openrouter_api_key": KEY,
                "openrouter_base_url": f"{self.base}/openrouter/api/v1",
                "comfyui_base_url": f"{self.base}/comfyui",
                "gemini_api_key": KEY,
                "gemini_base_url": f"{self.base}/gemini",
                "fal_api_key": KEY,
                "fal_base_url": f"{self.base}/fal",
                "fal_api_url": f"{self.base}/fal-api/v1",
                "fal_keys_url": f"{self.base}/fal-rest/.well-known/jwks.json",
                "replicate_api_key": KEY,
                "replicate_base_url": f"{self.base}/replicate",
                "a1111_base_url": f"{self.base}/a1111",
                "yandexart_api_key": KEY,
                "yandexart_folder": FOLDER,
                "yandexart_base_url": f"{self.base}/yandexart",
                "yandexart_operations_url": f"{self.base}/yandex-operations",
                "gigachat_api_key": GIGACHAT_KEY,
                "gigachat_base_url": f"{self.base}/gigachat/api/v1",
                "gigachat_auth_url": f"{self.base}/gigachat-auth/api/v2/oauth",
                **overrides,
            }
        )


@pytest.fixture(scope="session", autouse=True)
def _pictures_take_no_seconds() -> Iterator[None]:
    """So a poll of ComfyUI's client need not listen for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.providers.comfyui._LISTEN_SECONDS", 0.1)
        yield


@asynccontextmanager
async def serving() -> AsyncIterator[Edge]:
    """The stand-ins of all providers, served."""
    faults = Faults()
    same: dict[str, Any] = {
        "pictures": PictureMaker(cached=True),
        "faults": faults,
        "durations": (0.0, 0.0),
    }
    parts = {
        "openai": OpenAISandbox(**same),
        "kie": KieSandbox(**same, webhook_key="callback-key"),
        "openrouter": OpenRouterSandbox(**same),
        "comfyui": ComfyUISandbox(**same, lag=0.0),
        "a1111": A1111Sandbox(**same),
        "yandexart": YandexARTSandbox(**same, key=KEY),
        "gigachat": GigaChatSandbox(**same, key=GIGACHAT_KEY),
        "gemini": GeminiSandbox(**same, key=KEY),
        "fal": FalSandbox(**same, key=KEY),
        "replicate": ReplicateSandbox(**same, key=KEY),
    }
    app = web.Application(client_max_size=64 * 1024 * 1024)
    for part in parts.values():
        part.add_to(app)
    async with TestServer(app) as server:
        yield Edge(str(server.make_url("")).rstrip("/"), faults, **parts)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with serving() as served:
        yield served


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(edge.settings()) as made:
        yield made


@pytest.fixture
def openai(edge: Edge, client: httpx.AsyncClient) -> OpenAIProvider:
    return OpenAIProvider(edge.settings(), client)


@pytest.fixture
def kie(edge: Edge, client: httpx.AsyncClient) -> KieProvider:
    return KieProvider(edge.settings(), client)
