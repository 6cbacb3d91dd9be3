"""How known servers with OpenAI's images API differ from OpenAI's own: the table `gateways.toml`, and who is meant.

Not here: what an unknown server refuses, which the client learns from its answers (`src.providers.openai`).
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from src.providers.answers import usage
from src.providers.base import Aspect
from src.providers.catalog import Catalog, Offer
from src.providers.http import Answer

_TABLE = Path(__file__).with_name("gateways.toml")


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cost(_Entry):
    """Where an answer says what a picture cost: in a `header`, or under a `name` in its `usage`, `per` of which are one
    `unit`."""

    header: str = ""
    name: str = ""
    per: int = 1
    unit: str


class Gateway(_Entry):
    """One server. What is not said is as at OpenAI, or as at most that are not known.

    Attributes:
        hosts: where it is; `.example.com` with all under it.
        key: the header that its key stands in; empty: `Authorization`.
        of_deployments: what its addresses of deployments must end with as a query.
        person: under which name it takes who asks: `user`, none at all, or (`model`) as the model does.
        shape: how the picture's shape is said: `size`, `aspect_ratio`, or `sides` (width and height). shapes: the ratios
            that it knows, where not all.
        bytes: the word for bytes in `response_format`, for models that do not answer with bytes by themselves.
        edits: how pictures to be changed are sent: as OpenAI has it, as JSON to the same place, in the field `image_url`
            of what pictures are asked for with, or not at all. sources: how many at most.
        previews: whether it may be asked for a stream with unfinished pictures, where its model knows that.
        results: other hosts where its pictures lie.
    """

    hosts: tuple[str, ...] = ()
    key: str = ""
    of_deployments: dict[str, str] = {}
    person: Literal["model", "user", "none"] = "model"
    shape: Literal["size", "aspect_ratio", "sides"] = "size"
    shapes: tuple[Aspect, ...] = ()
    bytes: str = "b64_json"
    edits: Literal["multipart", "json", "image_url", "none"] = "multipart"
    sources: int = 16
    previews: bool = True
    results: tuple[str, ...] = ()
    cost: Cost | None = None

    def offer(self, known: Offer, name: str) -> Offer:
        """How a model is asked here, under this gateway's name, of which is known how OpenAI asks it."""
        if known.at and name not in known.at:
            # Everybody has prices of their own.
            known = known.model_copy(update={"price": None, "tokens": None})
        takes = known.takes
        if self.shape == "aspect_ratio":
            takes = takes.model_copy(
                update={"shape": self.shape, "shapes": {ratio: ratio for ratio in self.shapes}}
            )
        if self.edits == "none":
            gone = {"takes": takes.model_copy(update={"source": None}), "edit_id": None}
            return known.model_copy(update=gone)
        mask = takes.mask if self.edits == "multipart" else None
        takes = takes.model_copy(update={"sources": min(takes.sources, self.sources), "mask": mask})
        return known.model_copy(update={"takes": takes})

    def shaped(self, said: dict[str, str]) -> dict[str, str]:
        """What is said of a picture, its size in the server's own words."""
        if self.shape != "sides" or "size" not in said:
            return said
        width, _, height = said["size"].partition("x")
        return {name: value for name, value in said.items() if name != "size"} | {
            "width": width,
            "height": height,
        }

    def query(self, address: str) -> str:
        """What each address under that one ends with."""
        parts = urlsplit(address)
        needed = self.of_deployments if "/deployments/" in parts.path else {}
        said = parts.query or "&".join(f"{name}={value}" for name, value in needed.items())
        return f"?{said}" if said else ""

    def costs(self, answer: Answer) -> tuple[float, str] | None:
        """What a picture cost and the unit, where the answer tells: nothing is not believed."""
        if self.cost is None:
            return None
        told = answer.headers.get(self.cost.header, "") if self.cost.header else ""
        if self.cost.name:
            found = re.search(rb'"%b"\s*:\s*"?([\d.]+)' % self.cost.name.encode(), usage(answer))
            told = found[1].decode() if found else ""
        amount = float(told) / self.cost.per if re.fullmatch(r"\d{1,12}(\.\d+)?(e-\d{1,2})?", told) else 0.0
        return (amount, self.cost.unit) if amount else None


@functools.cache
def gateways() -> Mapping[str, Gateway]:
    """The table, by name."""
    return {
        name: Gateway.model_validate(entry)
        for name, entry in tomllib.loads(_TABLE.read_text("utf-8")).items()
    }


def gateway_at(address: str, name: str | None = None) -> tuple[str, Gateway]:
    """The name and the ways of the server at an address: the one that is meant by name, else the one that is known to be
    there; without a name where nobody is known."""
    if name is not None:
        return name, gateways()[name]
    host = urlsplit(address).hostname or ""
    for known, gateway in gateways().items():
        if any(host == there or (there[0] == "." and host.endswith(there)) for there in gateway.hosts):
            return known, gateway
    # As was seen at one or another.
    return "", Gateway(results=("oaidalleapiprodscus.blob.core.windows.net", "imgen.x.ai"))


@functools.lru_cache(maxsize=8)
def catalog_at(address: str, name: str | None, catalog: Catalog) -> Catalog:
    """A catalog whose models of OpenAI's are asked at that address."""
    name, gateway = gateway_at(address, name)
    return Catalog(
        {
            key: model.model_copy(
                update={
                    "by": tuple(
                        gateway.offer(offer, name) if offer.provider == "openai" else offer
                        for offer in model.by
                    )
                }
            )
            for key, model in catalog.models.items()
        }
    )
