"""Who makes a picture, with which model, and for how much: the catalog, the settings and what admins have switched off,
taken together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from src.jobs import TOOLS, Spec, spending
from src.jobs.spending import PICTURES, Charge
from src.jobs.switches import Switches
from src.providers import open_catalog
from src.providers.base import Capabilities, Provider
from src.providers.catalog import Catalog, Model, Offer
from src.settings import Settings, SettingsError


class Route(NamedTuple):
    """Who makes a picture: a provider, and its name of the model."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Routing:
    """What can be asked for here, and who makes it.

    Attributes:
        providers: those that there is a key for, the one of new jobs first.
        switches: what admins have switched off.
    """

    settings: Settings
    providers: dict[str, Provider]
    switches: Switches

    @property
    def catalog(self) -> Catalog:
        """The models there are."""
        return open_catalog(self.settings)

    def models(self, sources: int | None = None) -> dict[str, Model]:
        """The models of the catalog that a person can choose: that make pictures by words, of so many others (0: of
        words alone), or (None) any."""
        wanted = (0, 1) if sources is None else (sources,)
        models = self.catalog.models.items()
        return {
            key: model
            for key, model in models
            if any(offer.takes.words for n in wanted for offer in self.offers(key, n))
        }

    def every_model(self) -> dict[str, Model]:
        """The models that people could choose, were none switched off."""
        return {
            key: model
            for key, model in self.catalog.models.items()
            if any(o.provider in self.providers and (o.name_for(0) or o.name_for(1)) for o in model.by)
        }

    def is_on(self, route: Route) -> bool:
        """Whether no admin has switched off what it makes pictures with."""
        return self.switches.has_model(self.catalog.key(*route))

    def route(self, model: str | None, sources: int) -> Route | None:
        """Who makes a picture (of so many others) with a model of the catalog; with what the settings have made if it
        is None or does not. None: nobody does."""
        for offer in self.offers(model, sources):
            return Route(offer.provider, str(offer.name_for(sources)))
        for name, provider in self.providers.items():
            usual = Route(name, self.model(name, edit=sources > 0))
            if provider.capabilities.takes(sources) and self.is_on(usual):
                return usual
        return None

    def can(self, model: str | None, sources: int) -> Capabilities | None:
        """What can be asked for of a picture (of so many others) with a model of the catalog, or (None) with what the
        settings have made. None: it makes none."""
        if model is not None:
            for offer in self.offers(model, sources):
                provider = self.providers[offer.provider].capabilities
                return offer.capabilities(provider, self.catalog.models[model].counts)
            return None
        route = self.route(None, sources)
        if route is None:
            return None
        provider = self.providers[route.provider].capabilities
        known = self.catalog.offer(route.provider, route.model, None)
        return provider if known is None else known.capabilities(provider, provider.counts)

    def offers(self, model: str | None, sources: int) -> list[Offer]:
        """Where pictures (of so many others) are made with a model of the catalog, the preferred first."""
        known, units = self.catalog.models.get(model or ""), self.currencies()
        return [
            offer
            for offer in (known.by if known and self.switches.has_model(model) else ())
            if offer.provider in self.providers
            and (name := offer.name_for(sources)) is not None
            and units <= self.charge(Route(offer.provider, name)).costs.keys()
        ]

    def offered(self) -> Capabilities:
        """What people are offered: what the provider of new jobs can do, and edits where any can."""
        first = next((p.capabilities for p in self.providers.values()), Capabilities())
        return replace(first, edit=any(p.capabilities.edit for p in self.providers.values()))

    def model(self, provider: str, *, edit: bool) -> str:
        """Name of the model for new jobs."""
        name: str | None = getattr(self.settings, f"{provider}_edit_model", None) if edit else None
        return name or str(getattr(self.settings, f"{provider}_model"))

    def others(self, provider: str, spec: Spec) -> tuple[Route, ...]:
        """Who else can make a picture: the same model's other providers in the catalog's order, then the others with
        what the settings have them make. None where failing over is switched off."""
        if not self.settings.failover or spec.how in TOOLS:
            return ()
        units = self.currencies()
        sources, mask = len(spec.pictures), spec.painted is not None
        same = self.catalog.elsewhere(provider, spec.model, spec.prompt, sources=sources, mask=mask)
        found = {name: Route(name, model) for name, model in same if name in self.providers}
        for name, other in self.providers.items():
            if name != provider and other.capabilities.can_make(spec.prompt, sources=sources, mask=mask):
                found.setdefault(name, Route(name, self.model(name, edit=sources > 0)))
        able = (route for route in found.values() if self.is_on(route))
        return tuple(route for route in able if units <= self.charge(route).costs.keys())

    def charge(self, route: Route, quality: str | None = None) -> Charge:
        """What a picture is charged with before it is made, and the caps that it must stay within."""
        price, costs = self.catalog.price(*route, quality), dict(Charge().costs)
        if price is not None:
            costs[price[1]] = spending.millionths(price[0])
        caps = self.settings.spend_cap_day, self.settings.spend_cap_person_day
        everybody, person = (cap and (cap.unit, spending.millionths(cap.amount)) for cap in caps)
        return Charge(costs, everybody, person)

    def cheaper(self, route: Route, spec: Spec) -> list[Route]:
        """The models that cost less in the currency of the caps, the next cheaper first."""
        sources, unit = len(spec.pictures), next(iter(self.currencies()), None)
        now = self.charge(route, spec.quality).costs.get(unit or "")
        if unit is None or now is None or spec.how in TOOLS:
            return []
        catalog, found = self.catalog, {}
        for offer in (offer for model in catalog.models.values() for offer in model.by):
            name = offer.edit_id if sources else offer.id
            if name is None or offer.provider not in self.providers:
                continue
            if not offer.takes.words or sources > offer.takes.sources or len(spec.prompt) > offer.prompt_max:
                continue
            if spec.painted is not None and offer.takes.mask is None:
                continue
            other = Route(offer.provider, name)
            cost = self.charge(other, spec.quality).costs.get(unit)
            if cost is not None and cost < now and self.is_on(other):
                found[other] = cost
        return sorted(found, key=lambda other: -found[other])

    def currencies(self) -> set[str]:
        """What the caps count money in; a model without a price in each of them cannot be used."""
        caps = (self.settings.spend_cap_day, self.settings.spend_cap_person_day)
        return {cap.unit for cap in caps if cap is not None} - {PICTURES}

    def check_prices(self) -> None:
        """See that the caps can be kept.

        Raises:
            SettingsError: a model of the settings has no price in a cap's currency.
        """
        for unit in sorted(self.currencies()):
            for name in self.providers:
                fields = (f"{name}_{which}model" for which in ("", "edit_", "fast_"))
                for model in filter(None, (getattr(self.settings, field, None) for field in fields)):
                    if unit not in self.charge(Route(name, model)).costs:
                        raise SettingsError(
                            f"A cap is in {unit}, and the catalog has no price in {unit} for {name}'s {model}: "
                            "add it to a catalog of your own (MODELS_FILE; `at` says at which gateways a price holds), or cap the "
                            "number of pictures"
                        )

    def tool(self, what: str) -> Route | None:
        """Who can do that to a picture (`src.jobs.TOOLS`), or None."""
        routes, units = (Route(*tool) for tool in self.catalog.tools(what, self.providers)), self.currencies()
        able = (route for route in routes if units <= self.charge(route).costs.keys())
        return next((route for route in able if self.is_on(route)), None)

    def fast_model(self, provider: str, spec: Spec) -> str | None:
        """Name of the faster model that is offered when the line is long, or None where it cannot make that. Where edits
        have a model of their own there is none for them, nor for what only a tool does."""
        if spec.how in TOOLS:
            return None
        sources = len(spec.pictures)
        name: str | None = getattr(self.settings, f"{provider}_fast_model", None)
        if name is None or (sources and getattr(self.settings, f"{provider}_edit_model", None)):
            return None
        offer = self.catalog.offer(provider, name, None)
        if offer is None:
            return None if spec.painted else name
        able = offer.takes_so_many(sources, spec.painted is not None) and len(spec.prompt) <= offer.prompt_max
        return name if able else None
