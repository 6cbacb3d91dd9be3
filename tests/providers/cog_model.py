"""A model as people write them for Replicate, run by cog in a venv of its own: see test_cog.py."""

from __future__ import annotations

import tempfile
import time

from cog import BaseRunner, Input, Path  # type: ignore[import-not-found]
from PIL import Image

_STEPS = 10


class Model(BaseRunner):  # type: ignore[misc]
    def run(
        self,
        prompt: str = Input(),
        aspect_ratio: str = Input(default="1:1"),
        seed: int = Input(default=0),
        output_format: str = Input(default="png"),
    ) -> Path:
        """A picture of one colour; "slowly" in the words makes it last, "forbidden" is refused as many models do."""
        if "forbidden" in prompt:
            raise ValueError(
                "The input or output was flagged as sensitive. Please try again with different inputs. (E005)"
            )
        for step in range(1, _STEPS + 1):
            print(f"{step * 100 // _STEPS:3d}%|###   | {step}/{_STEPS} [00:01, 1it/s]", flush=True)
            time.sleep(3.0 if "slowly" in prompt else 0.01)
        size = (64, 36) if aspect_ratio == "16:9" else (64, 64)
        out = Path(tempfile.mkdtemp()) / f"out.{output_format}"
        Image.new("RGB", size, (seed % 256, 99, 0)).save(out)
        return out
