"""Clients of the image providers; the pipeline knows only `src.providers.base`.

A client is a class with a `name` and a pydantic model `settings`; its file says `PROVIDER = …`, and that is all there is
to its registration (`src.settings.provider_clients`).
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from src.providers.base import Provider
from src.providers.catalog import Catalog, get_catalog
from src.settings import Settings, provider_clients


def open_catalog(settings: Settings) -> Catalog:
    """The catalog of models, as they are offered at the addresses that are set.

    Raises:
        SettingsError: an entry of it is wrong; with its line.
    """
    clients = provider_clients()
    catalog = get_catalog(settings.models_file, frozenset(clients))
    for client in clients.values():
        if hasattr(client, "offered"):
            catalog = client.offered(settings, catalog)
    return catalog


def make_providers(settings: Settings, clients: Mapping[str, httpx.AsyncClient]) -> dict[str, Provider]:
    """The providers that have a key, by name, the one for new jobs first.

    Args:
        clients: of `src.providers.http.make_clients`.
    """
    open_catalog(settings)
    return {name: provider_clients()[name](settings, clients[name]) for name in settings.providers}
