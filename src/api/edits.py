"""The form of `POST /v1/images/edits`: what it holds, read only as far as it may be.

Not by FastAPI's own parameters: those read a stranger's whole form before they look at the key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast, get_args

from fastapi import Request
from starlette.datastructures import UploadFile

from src.api.problems import Problem
from src.providers.base import Aspect, ProviderError, SourceImage
from src.providers.images import SOURCE_MAX_BYTES, source_image

LONGEST = 4000
"""Characters of a prompt."""
# The form around the picture: the prompt, and what separates its parts.
LARGEST_FORM = SOURCE_MAX_BYTES + 100_000

BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["prompt", "image"],
                "properties": {
                    "prompt": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": LONGEST,
                        "description": "What is to be changed.",
                    },
                    "image": {
                        "type": "string",
                        "format": "binary",
                        "description": f"PNG, JPEG, WEBP, GIF, BMP or TIFF of at most {SOURCE_MAX_BYTES // 1_000_000} MB.",
                    },
                    "aspect": {
                        "type": "string",
                        "enum": list(get_args(Aspect)),
                        "default": "1:1",
                        "description": "Width to height of the result.",
                    },
                },
            }
        }
    },
}
"""What the API's description says of it."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is asked for; the picture is checked and fit to send to a provider."""

    prompt: str = field(repr=False)
    image: SourceImage
    aspect: Aspect


async def read(request: Request) -> Form:
    """The form of a request.

    Raises:
        Problem: 411 or 413, its length is not said or too large; 422, something is missing or wrong.
        HTTPException: 400, it is no form.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise Problem(411, "length_required", "say Content-Length")
    if int(length) > LARGEST_FORM:
        raise Problem(413, "too_large", f"a picture of at most {SOURCE_MAX_BYTES} bytes is read")
    async with request.form(max_files=1, max_fields=2) as form:
        prompt, picture, aspect = form.get("prompt"), form.get("image"), form.get("aspect", "1:1")
        if not isinstance(prompt, str) or len(prompt) > LONGEST:
            raise Problem(422, "invalid", f"prompt: a text of at most {LONGEST} characters is needed")
        if aspect not in get_args(Aspect):
            raise Problem(422, "invalid", f"aspect: one of {', '.join(get_args(Aspect))}")
        if not isinstance(picture, UploadFile):
            raise Problem(422, "invalid", "image: a file is needed")
        try:
            image = await asyncio.to_thread(source_image, await picture.read())
        except ProviderError as error:
            raise Problem(422, "bad_source", f"image: {error.code}") from None
    return Form(prompt, image, cast(Aspect, aspect))
