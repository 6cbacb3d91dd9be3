"""The catalog of models: what each is called and good for, who makes it, and how it is asked there.

`models.toml` beside this file is the catalog, unless MODELS_FILE names another. A client asks it how a model's input
is said (`Catalog.offer`, `Offer.fields`), so a model of a known kind needs no code. A model that is not in it is asked
as most at its provider are.
"""

from __future__ import annotations

import functools
import re
import textwrap
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.providers.base import (
    ASPECTS,
    Aspect,
    Capabilities,
    ErrorKind,
    GenRequest,
    ProviderError,
    SourceImage,
)
from src.settings import SettingsError

SHIPPED = Path(__file__).parent / "models.toml"

# It goes into what a button sends.
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_DAY = re.compile(r"-\d{4}-?\d\d-?\d\d$")
# More is a mistake, and would be charged.
_MOST_TOKENS = 1_000_000
_Else = TypeVar("_Else", "Offer", None)
# ASCII said out: with \w, all of Unicode, each model that has such a name takes 50 ms to load.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_./:@-]{1,128}$")]
_FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(_Entry):
    """A short text in both languages."""

    en: str = Field(min_length=1, max_length=80)
    ru: str = Field(min_length=1, max_length=80)

    def of(self, lang: str) -> str:
        """The text in a language."""
        return self.ru if lang == "ru" else self.en


class Price(_Entry):
    """What a picture costs. `of`: which picture, where that matters. `qualities`: what it costs in a quality that was
    chosen. `day` and `source`: when and where it was read."""

    amount: float = Field(ge=0)
    qualities: dict[str, Annotated[float, Field(ge=0)]] = {}
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    unit: Literal["picture", "megapixel", "second"] = "picture"
    of: str = ""
    day: date
    source: str = Field(min_length=1)

    def a_picture(self, seconds: float | None, quality: str | None) -> float | None:
        """What one of our pictures costs, of a megapixel each; `seconds`: how long it usually takes. None: unknown."""
        amount = self.qualities.get(quality or "", self.amount)
        if self.unit != "second":
            return amount
        return None if seconds is None else amount * seconds


class Tokens(_Entry):
    """What a million tokens cost, where a picture is billed by them: of words and of pictures that are given, and of what
    is drawn. An answer then tells what its picture cost."""

    words: float = Field(ge=0)
    pictures: float = Field(ge=0)
    drawn: float = Field(ge=0)
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    day: date
    source: str = Field(min_length=1)

    def cost(self, usage: Mapping[str, Any]) -> float | None:
        """What was billed for an answer that was counted so; None where it does not say."""
        given = usage.get("input_tokens_details")
        details = given if isinstance(given, dict) else {}
        counts = [details.get("text_tokens"), details.get("image_tokens"), usage.get("output_tokens")]
        known = [count for count in counts if isinstance(count, int) and 0 <= count < _MOST_TOKENS]
        if len(known) < len(counts) or not known[2]:
            return None
        rates = (self.words, self.pictures, self.drawn)
        return sum(count * rate for count, rate in zip(known, rates, strict=True)) / 1_000_000


class Takes(_Entry):
    """What a model takes beside its prompt, and under which field; what is not here it is not sent.

    Attributes:
        shape: field of the picture's size or ratio. shapes: what our formats are called there; empty: all of them,
            under their own names.
        source: field of the pictures to be changed; sources: how many at most; one: it holds one, not a list.
        qualities: the words `quality` knows. n, most: how many pictures one call can make; it is asked for one, as each has a
            job, a seed and an end of its own. fixed: what is always said.
        words: False: it takes no prompt.
    """

    words: bool = True

    shape: _FieldName | None = None
    shapes: dict[Aspect, str] = {}
    source: _FieldName | None = None
    sources: int = Field(default=1, ge=1, le=100)
    one: bool = False
    mask: _FieldName | None = None
    quality: _FieldName | None = None
    qualities: tuple[str, ...] = ()
    n: _FieldName | None = None
    most: int = Field(default=1, ge=1, le=100)
    seed: _FieldName | None = None
    negative_prompt: _FieldName | None = None
    format: _FieldName | None = None
    formats: tuple[str, ...] = ()
    fixed: dict[_FieldName, str | int | float | bool] = {}


class Offer(_Entry):
    """A model at one provider.

    Attributes:
        id: its name there for text to image; edit_id: for edits, None where it makes none.
        family: other names there that begin so are asked in the same way.
        can: what else it can do; `upscale` and `cutout` are all that such a model does, with the source alone.
        prompt_max: longest prompt, in characters. usual_seconds: how long a picture usually takes.
        price: what it is expected to cost. tokens: what it is billed by. at: the gateways (`gateways.toml`) that these
            hold for; empty: wherever it is asked.
    """

    provider: str
    id: _Name | None = None
    edit_id: _Name | None = None
    family: str = ""
    takes: Takes = Takes()
    can: frozenset[Literal["upscale", "cutout", "variation", "previews", "progress", "cancel"]] = frozenset()
    prompt_max: int = Field(default=4000, ge=1)
    price: Price | None = None
    tokens: Tokens | None = None
    at: tuple[str, ...] = ()
    usual_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _together(self) -> Offer:
        if self.id is None and self.edit_id is None:
            raise ValueError("needs `id`, `edit_id` or both")
        if self.edit_id is not None and self.takes.source is None:
            raise ValueError("`edit_id` needs `takes.source`, the field of the picture to be changed")
        if self.takes.one and self.takes.sources > 1:
            raise ValueError("`takes.one` is for a single picture, not for several `takes.sources`")
        return self

    @property
    def edits(self) -> bool:
        """Whether a picture can be changed."""
        return self.takes.source is not None

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """The formats it makes."""
        return tuple(a for a in ASPECTS if a in self.takes.shapes) or ASPECTS

    def name_for(self, sources: int) -> str | None:
        """Its name there for a picture of so many others (0: of words alone); None: it makes none."""
        name = self.edit_id if sources else self.id
        return name if sources <= self.takes.sources else None

    def takes_so_many(self, sources: int, mask: bool = False) -> bool:
        """Whether so many pictures can be given (0: words alone), and a mask of the first."""
        return sources <= (self.takes.sources if self.edits else 0) and (
            not mask or self.takes.mask is not None
        )

    def pictures(self, request: GenRequest) -> tuple[SourceImage, ...]:
        """The pictures to be changed, all of them: without one, or without the mask, it would be another picture, and paid
        for.

        Raises:
            ProviderError: INVALID_REQUEST: it takes fewer, or no mask.
        """
        if not self.takes_so_many(len(request.sources)):
            raise ProviderError(ErrorKind.INVALID_REQUEST, "too_many_sources")
        if request.mask is not None and self.takes.mask is None:
            raise ProviderError(ErrorKind.INVALID_REQUEST, "no_mask")
        return request.sources

    def capabilities(self, provider: Capabilities, counts: int) -> Capabilities:
        """What its provider can do with it."""
        return replace(
            provider,
            aspects=self.aspects,
            counts=counts,
            edit=self.edit_id is not None,
            sources=self.takes.sources,
            mask=self.takes.mask is not None,
            max_prompt=self.prompt_max,
            qualities=self.takes.qualities if self.takes.quality and len(self.takes.qualities) > 1 else (),
            seed=self.takes.seed is not None,
            negative=self.takes.negative_prompt is not None,
        )

    def fields(self, request: GenRequest, sources: Sequence[Any] = (), mask: Any = None) -> dict[str, Any]:
        """A request as this model takes it; a quality, seed or words to leave out that it does not know are left out.

        Args:
            sources: the pictures to be changed, as the provider wants them (addresses, base64); mask: likewise.

        Raises:
            ProviderError: it takes fewer pictures, or the mask is not given here.
        """
        takes = self.takes
        self.pictures(request)
        if request.mask is not None and mask is None:
            raise ProviderError(ErrorKind.INVALID_REQUEST, "no_mask")
        said: dict[str, Any] = {**({"prompt": request.prompt} if takes.words else {}), **takes.fixed}
        if takes.shape:
            shape = _nearest(request.aspect, self.aspects)
            said[takes.shape] = takes.shapes.get(shape, shape)
        if takes.quality and request.quality in takes.qualities:
            said[takes.quality] = request.quality
        if takes.seed and request.seed is not None:
            said[takes.seed] = request.seed
        if takes.negative_prompt and request.negative_prompt:
            said[takes.negative_prompt] = request.negative_prompt
        if takes.source and sources:
            said[takes.source] = sources[0] if takes.one else list(sources)
        if takes.mask and mask is not None:
            said[takes.mask] = mask
        return said


class Model(_Entry):
    """A model as people know it. `by`: its providers, the preferred first. `counts`: pictures asked for at once."""

    name: Words
    good_at: Words
    counts: int = Field(default=4, ge=1, le=4)
    by: tuple[Offer, ...] = Field(min_length=1)


class Catalog:
    """The models by their keys, in the order of the file."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.models = dict(models)

    def offers(self, provider: str) -> list[Offer]:
        """All models of a provider."""
        return [offer for model in self.models.values() for offer in model.by if offer.provider == provider]

    def offer(self, provider: str, name: str, otherwise: _Else) -> Offer | _Else:
        """How a model is asked: by its own entry, else by that of its family, else as `otherwise` says.

        A gateway's prefix (`openai/…`) is looked past. What a picture costs is its entry's own, also where a name says
        of which day that model is.
        """
        offers = self.offers(provider)
        for known in (name, name.rpartition("/")[2]):
            for offer in offers:
                if known in (offer.id, offer.edit_id):
                    return offer
            kin = [offer for offer in offers if offer.family and known.startswith(offer.family)]
            if kin:
                parent = max(kin, key=lambda offer: len(offer.family))
                if _DAY.sub("", known) in (parent.id, parent.edit_id):
                    return parent
                return parent.model_copy(update={"price": None, "tokens": None})
        return otherwise

    def key(self, provider: str, name: str) -> str | None:
        """The key of the model that a provider's name means."""
        for key, model in self.models.items():
            if any(o.provider == provider and name in (o.id, o.edit_id) for o in model.by):
                return key
        return None

    def model(self, provider: str, name: str) -> Model | None:
        """The model that a provider's name means."""
        return self.models.get(self.key(provider, name) or "")

    def price(self, provider: str, name: str, quality: str | None = None) -> tuple[float, str] | None:
        """What a picture costs by a provider's name of the model, and the currency; None where nobody says."""
        for offer in self.offers(provider):
            if name in (offer.id, offer.edit_id) and offer.price is not None:
                amount = offer.price.a_picture(offer.usual_seconds, quality)
                return None if amount is None else (amount, offer.price.currency)
        return None

    def elsewhere(
        self, provider: str, name: str, prompt: str, *, sources: int, mask: bool = False
    ) -> list[tuple[str, str]]:
        """Where else such a picture (of so many others, of the first with a mask) of the same model is made: the provider
        and its name there, the preferred first."""
        model = self.model(provider, name)
        return [
            (offer.provider, id_)
            for offer in (model.by if model else ())
            if offer.provider != provider
            and (id_ := offer.name_for(sources)) is not None
            and (offer.takes.mask is not None or not mask)
            and len(prompt) <= offer.prompt_max
        ]

    def tools(self, what: str, providers: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Those of these providers that can do that to a picture, and their names of the model."""
        for provider in providers:
            for offer in self.offers(provider):
                if what in offer.can and offer.edit_id is not None:
                    yield provider, offer.edit_id

    def shown(self, provider: str, name: str, lang: str) -> str:
        """What people see as a model's name; the provider's own where the catalog does not have it."""
        model = self.model(provider, name)
        return name if model is None else model.name.of(lang)


def _nearest(aspect: Aspect, known: Sequence[Aspect]) -> Aspect:
    """The same format, or of those that are known the one whose sides are most like it."""

    def ratio(name: Aspect) -> float:
        wide, _, high = name.partition(":")
        return int(wide) / int(high)

    return min(known, key=lambda name: max(ratio(name), ratio(aspect)) / min(ratio(name), ratio(aspect)))


@functools.cache
def get_catalog(file: Path | None = None, providers: frozenset[str] | None = None) -> Catalog:
    """The catalog of MODELS_FILE, or ours.

    Raises:
        SettingsError: an entry is wrong; with its line.
    """
    return read_catalog(SHIPPED if file is None else file, providers)


def read_catalog(file: Path, providers: Collection[str] | None = None) -> Catalog:
    """Read and check a catalog.

    Args:
        providers: the names of the providers there are; None: any.

    Raises:
        SettingsError: it cannot be read, or an entry is wrong; with file and line.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"MODELS_FILE: {file} cannot be read") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: {error}") from None
    models, wrong, names = {}, [], set()
    for key, table in tables.items():
        if not _KEY.fullmatch(key):
            wrong.append((_line(text, (key,)), f"{key}: a model's key is at most 40 of A-Z, a-z, 0-9, _ . -"))
        try:
            models[key] = model = Model.model_validate(table)
        except ValidationError as error:
            wrong += [
                (_line(text, (key, *item["loc"])), _said(key, item["loc"], item["msg"]))
                for item in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            continue
        for index, offer in enumerate(model.by):
            at = functools.partial(_line, text, (key, "by", index, "provider"))
            if providers is not None and offer.provider not in providers:
                known = ", ".join(sorted(providers))
                wrong.append((at(), f"{key}: there is no provider {offer.provider!r}, only {known}"))
            for name in {offer.id, offer.edit_id} - {None}:
                if (offer.provider, name) in names:
                    wrong.append((at(), f"{key}: {offer.provider} has {name!r} in another entry too"))
                names.add((offer.provider, name))
    if wrong:
        lines = "\n  ".join(f"{file}:{line}: {what}" for line, what in sorted(wrong))
        raise SettingsError(f"The catalog of models needs mending:\n  {lines}")
    return Catalog(models)


def _said(key: str, where: tuple[int | str, ...], message: str) -> str:
    path = ".".join(str(part) for part in (key, *where))
    return f"{path}: {message.removeprefix('Value error, ')}"


def _line(text: str, where: Sequence[int | str]) -> int:
    """The line that a path in the tables is said on: its key's, else that of the table around it."""
    lines = text.splitlines()
    section, best, seen = [str(part) for part in where if isinstance(part, str)], 1, 0
    index = next((part for part in where if isinstance(part, int)), 0)
    inside = False
    for number, line in enumerate(lines, 1):
        if header := re.match(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$", line):
            parts = [part.strip().strip("\"'") for part in _dotted(header[2])]
            inside = parts == section[: len(parts)]
            if inside and header[1] == "[[":
                seen += 1
                inside = seen == index + 1
            elif inside and len(parts) > 1 and "by" in parts:
                inside = seen == index + 1
            if inside:
                best, depth = number, len(parts)
        elif inside and depth < len(section):
            said = re.match(r"\s*(?:\"([^\"]+)\"|([\w-]+))\s*(?:\.[\w.-]+\s*)?=", line)
            if said and (said[1] or said[2]) == section[depth]:
                best = number
    return best


def _dotted(header: str) -> list[str]:
    """The keys of a header, of which a quoted one may hold dots."""
    return re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", header)


def listing(catalog: Catalog, width: int) -> str:
    """The catalog to be read, in lines of that width: under each model its providers, what each takes and its price."""
    found = []
    for key, model in catalog.models.items():
        found.append(f"{model.name.en} ({key}): {model.good_at.en}")
        for offer in model.by:
            takes = offer.takes
            names = " · ".join(dict.fromkeys(n for n in (offer.id, offer.edit_id) if n))
            also = [n for n in ("quality", "seed", "negative_prompt", "mask") if getattr(takes, n)]
            facts = [
                " ".join(offer.aspects) if takes.shape or takes.shapes else "",
                f"{takes.sources} picture{'s' * (takes.sources > 1)} to change" if offer.edits else "",
                ", ".join(also).replace("_", " "),
                f"{offer.prompt_max:,} characters" if takes.words else "without words",
            ]
            found += [f"  {offer.provider}: {names}", f"    {'; '.join(filter(None, facts))}"]
            found += [f"    {_priced(offer)}"]
        found.append("")
    return "\n".join("\n".join(_wrapped(line, width)) for line in found)


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _priced(offer: Offer) -> str:
    if (price := offer.price) is None:
        return "price not known" + ("; an answer tells what it cost" if offer.tokens else "")
    of = f" ({price.of})" if price.of else ""
    return f"{price.amount:g} {price.currency} a {price.unit}{of}: {price.source}, {price.day}"
