"""Which clients a process has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from src.providers import make_providers
from src.providers.base import Provider

if TYPE_CHECKING:
    from tests.providers.conftest import Edge


async def test_a_client_for_each_key_the_chosen_one_first(edge: Edge, client: httpx.AsyncClient) -> None:
    assert list(make_providers(edge.settings(provider="kie"), client)) == ["kie", "openai", "openrouter"]
    assert list(make_providers(edge.settings(kie_api_key=None, openrouter_api_key=None), client)) == [
        "openai"
    ]
    for name, provider in make_providers(edge.settings(), client).items():
        assert isinstance(provider, Provider)
        assert provider.name == name
