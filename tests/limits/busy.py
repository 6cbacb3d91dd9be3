"""A gate as others leave it."""

from __future__ import annotations

from typing import Any


async def busy(client: Any, seconds: float, gate: str = "telegram") -> None:
    """Others have taken all turns of the next seconds at a gate."""
    now, micros = await client.time()
    used = 1000 * (now + seconds) + micros / 1000
    await client.hset(f"imagebot:gate:{gate}", "used", f"{used:.3f}")
    await client.expire(f"imagebot:gate:{gate}", 3600)
