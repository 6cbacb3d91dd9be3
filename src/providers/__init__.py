"""Clients of the image providers; the pipeline knows only `src.providers.base`."""

from __future__ import annotations

import httpx

from src.providers.base import Provider
from src.providers.catalog import Catalog, get_catalog
from src.providers.kie import KieProvider
from src.providers.openai import OpenAIProvider
from src.settings import Settings

_PROVIDERS: dict[str, type[OpenAIProvider] | type[KieProvider]] = {
    "openai": OpenAIProvider,
    "kie": KieProvider,
}


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of models.

    Raises:
        SettingsError: an entry of it is wrong; with its line.
    """
    return get_catalog(settings.models_file, frozenset(_PROVIDERS))


def make_providers(settings: Settings, client: httpx.AsyncClient) -> dict[str, Provider]:
    """The providers that have a key, by name, the one for new jobs first."""
    open_catalog(settings)
    return {name: _PROVIDERS[name](settings, client) for name in settings.providers}
