"""One real picture by one provider, and what it cost: `imagebot doctor --provider NAME --try`."""

from __future__ import annotations

import asyncio
import time

from src.app import App
from src.jobs import new_id
from src.jobs.spending import PICTURES, worded
from src.providers.base import Done, GenRequest, Provider, ProviderError, Ticket
from src.routing import Route

# The cheapest, where there are several.
_QUALITY = "low"


async def make_one(app: App, name: str) -> tuple[bool, str]:
    """One real picture of the model that new jobs get, as cheap as it makes them. Whether it was made, and what of it."""
    provider, route = app.providers[name], Route(name, app.routing.model(name, edit=False))
    seconds, began = app.settings.job_deadline, time.monotonic()
    request = GenRequest(new_id(), "a grey circle on white", route.model, quality=_QUALITY, deadline=seconds)
    try:
        async with asyncio.timeout(seconds):
            done = await _awaited(provider, await provider.submit(request), app.settings.poll_interval or 2.0)
            picture = await provider.fetch(done.image)
    except ProviderError as error:
        return False, f"{route.model} made no picture: {error}"
    except TimeoutError:
        return False, f"{route.model} made no picture in {seconds} s; it may be paid for"
    told, price = done.costs, app.routing.charge(route, _QUALITY).costs
    if told is not None:
        cost = f"it cost {told[0]:g} {told[1]}"
    elif len(price) > 1:
        cost = f"by the catalog it cost {worded({u: c for u, c in price.items() if u != PICTURES})}"
    else:
        cost = "neither it nor the catalog says what that cost"
    size = f"{picture.width} x {picture.height} {picture.mime}"
    return True, f"{route.model} made {size} in {time.monotonic() - began:.0f} s; {cost}"


async def _awaited(provider: Provider, answer: Ticket | Done, pause: float) -> Done:
    """The picture, asked for until it is there; a poll that fails says nothing about it."""
    if isinstance(answer, Done):
        return answer
    while True:
        await asyncio.sleep(pause)
        try:
            found = await provider.poll(answer)
        except ProviderError as error:
            if error.ended or not error.retryable:
                raise
            continue
        if isinstance(found, Done):
            return found
