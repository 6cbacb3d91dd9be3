"""What each family of kie.ai's models takes, by its OpenAPI of August to October 2026.

A small table that a catalog of models can take the place of: everything a model's input depends on is in `Family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from src.providers.base import Aspect

_NAMED: Mapping[Aspect, str] = {
    "1:1": "square_hd",
    "3:2": "landscape_3_2",
    "2:3": "portrait_3_2",
    "16:9": "landscape_16_9",
    "9:16": "portrait_16_9",
}
_NAMED_4_3: Mapping[Aspect, str] = {**_NAMED, "3:2": "landscape_4_3", "2:3": "portrait_4_3"}


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models is asked.

    Attributes:
        source: field of the picture to be changed. many: that field is a list.
        shape: field of the picture's shape. shapes: what the shapes are called there; empty: as we call them.
        fixed: what else has to be said, or is better said.
    """

    source: str = "image_urls"
    many: bool = True
    shape: str = "aspect_ratio"
    shapes: Mapping[Aspect, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)

    def fields(self, prompt: str, aspect: Aspect, source: str | None) -> dict[str, Any]:
        """The model's input."""
        asked: dict[str, Any] = {"prompt": prompt, self.shape: self.shapes.get(aspect, aspect), **self.fixed}
        if source is not None:
            asked[self.source] = [source] if self.many else source
        return asked


_PNG = {"output_format": "png"}
_ONE_K = {"resolution": "1K"}
# The first prefix that fits.
_FAMILIES: tuple[tuple[str, Family], ...] = (
    ("google/nano-banana", Family(fixed=_PNG)),
    ("nano-banana-2-lite", Family()),
    ("nano-banana", Family("image_input", fixed={**_ONE_K, **_PNG})),
    ("gpt-image-2", Family("input_urls", fixed=_ONE_K)),
    ("gpt-image/", Family("input_urls", fixed={"quality": "medium"})),
    ("flux-2/", Family("input_urls", fixed=_ONE_K)),
    ("wan/", Family("input_urls")),
    ("seedream/", Family(fixed={"quality": "basic"})),
    ("bytedance/seedream", Family(shape="image_size", shapes=_NAMED)),
    ("qwen/", Family("image_url", many=False, shape="image_size", shapes=_NAMED_4_3, fixed=_PNG)),
)
_OTHERS = Family()


def family_of(model: str) -> Family:
    """The family a model belongs to; what is not known is asked as most are."""
    return next((family for prefix, family in _FAMILIES if model.startswith(prefix)), _OTHERS)
