"""Which clients a process has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from src.providers import make_providers
from src.providers.base import Provider
from src.providers.http import make_clients
from src.settings import load_settings

if TYPE_CHECKING:
    from tests.providers.conftest import Edge


async def test_a_client_for_each_key_the_chosen_one_first(edge: Edge) -> None:
    keys = {"openai_api_key": "k", "kie_api_key": "k", "openrouter_api_key": "k"}
    for settings, names in (
        (load_settings(provider="kie", **keys), ["kie", "openai", "openrouter"]),
        (load_settings(openai_api_key="k"), ["openai"]),
        (load_settings(comfyui_base_url="http://gpu:8188"), ["comfyui"]),
    ):
        assert list(make_providers(settings, make_clients(settings))) == names
    settings = edge.settings()
    for name, provider in make_providers(settings, make_clients(settings)).items():
        assert isinstance(provider, Provider)
        assert provider.name == name
