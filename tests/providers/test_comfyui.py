"""The ComfyUI client against the stand-in, and comfy-toolkit against it too: what contracts.md says every provider client
must survive. It has no keys, no money and no filter, so points 2, 3, 5, 6, 13, 14 and 20 do not arise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comfy_toolkit
import httpx
import pytest

from src.providers.base import (
    Done,
    ErrorKind,
    GenRequest,
    ImageBytes,
    Pending,
    ProviderError,
    SourceImage,
    Ticket,
)
from src.providers.comfyui import SHIPPED, ComfyUIProvider
from src.settings import SettingsError

if TYPE_CHECKING:
    from tests.providers.conftest import Edge


@pytest.fixture
def comfy(edge: Edge, client: httpx.AsyncClient) -> ComfyUIProvider:
    return ComfyUIProvider(edge.settings(), client)


def ask(prompt: str = "a fox", model: str = "text-to-image", **more: Any) -> GenRequest:
    return GenRequest("job-1", prompt, model, **more)


async def ended(comfy: ComfyUIProvider, ticket: Ticket) -> Done:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = await comfy.poll(ticket)
        if isinstance(found, Done):
            return found
    raise AssertionError("it did not end in time")


async def made(comfy: ComfyUIProvider, request: GenRequest) -> ImageBytes:
    return await comfy.fetch((await ended(comfy, await comfy.submit(request))).image)


async def refused(comfy: ComfyUIProvider, request: GenRequest) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await made(comfy, request)
    return caught.value


async def runs(edge: Edge, ticket: Ticket) -> None:
    until = time.monotonic() + 5
    while edge.comfyui.running is None or edge.comfyui.running.id != ticket.external_id:
        assert time.monotonic() < until
        await asyncio.sleep(0)


async def test_gets_the_picture_and_its_seed(comfy: ComfyUIProvider, edge: Edge) -> None:
    ticket = await comfy.submit(ask(aspect="16:9", seed=5, negative_prompt="fog"))
    ticket = Ticket.from_json(json.loads(json.dumps(ticket.to_json())))
    done = await ended(comfy, ticket)
    assert done == await comfy.poll(ticket), "an end is told as often as it is asked for"
    assert done.seed == 5
    image = await comfy.fetch(done.image)
    assert (image.mime, image.width, image.height) == ("image/png", 1344, 768)
    graph = edge.comfyui.ended(ticket.external_id)
    assert graph["3"]["inputs"]["seed"] == 5
    assert graph["2"]["inputs"]["text"] == "fog"


async def test_a_seed_that_nobody_chose_is_another_each_time(comfy: ComfyUIProvider) -> None:
    done = [await ended(comfy, await comfy.submit(ask())) for _ in range(2)]
    assert done[0].seed != done[1].seed


async def test_edits_an_uploaded_source(comfy: ComfyUIProvider, edge: Edge) -> None:
    image = await made(comfy, ask())
    source = SourceImage(image.data, image.mime)
    await made(comfy, ask("in snow", "edit", sources=(source,)))
    assert (edge.comfyui.audit.sources["in snow"], edge.comfyui.audit.uploads) == (1, 1)


async def test_tells_place_then_progress_then_the_picture(comfy: ComfyUIProvider, edge: Edge) -> None:
    edge.faults.add("never_ends")
    first = await comfy.submit(ask("the first"))
    await runs(edge, first)
    second, third = await comfy.submit(ask("the second")), await comfy.submit(ask("the third"))
    assert [await comfy.poll(t) for t in (second, third)] == [
        Pending(queue_position=1),
        Pending(queue_position=2),
    ]
    found = await comfy.poll(first)
    assert isinstance(found, Pending)
    assert found.progress
    assert await comfy.cancel(first) == "cancelled"
    assert (await ended(comfy, third)).image


async def test_the_history_comes_after_the_end_is_told(comfy: ComfyUIProvider, edge: Edge) -> None:
    """The websocket says it is done before the history can be read: then it is looked at again, in the same poll."""
    edge.comfyui.lag = 0.3
    edge.comfyui.durations = (0.2, 0.2)
    ticket = await comfy.submit(ask())
    await runs(edge, ticket)
    found = [await comfy.poll(ticket)]
    while isinstance(found[-1], Pending):
        found.append(await comfy.poll(ticket))
    assert isinstance(found[-1], Done)
    assert len(found) < 20


async def test_cancels_in_the_queue_while_it_runs_and_not_after(comfy: ComfyUIProvider, edge: Edge) -> None:
    edge.faults.add("never_ends", times=2)
    running = await comfy.submit(ask("runs"))
    await runs(edge, running)
    waiting = await comfy.submit(ask("waits"))
    assert await comfy.cancel(waiting) == "cancelled"
    assert edge.comfyui.waiting == []
    assert edge.comfyui.running
    assert edge.comfyui.running.id == running.external_id, "the other goes on"
    assert await comfy.cancel(running) == "cancelled"
    with pytest.raises(ProviderError) as caught:
        await ended(comfy, running)
    assert (caught.value.code, caught.value.ended) == ("interrupted", True)
    done = await comfy.submit(ask("done"))
    await ended(comfy, done)
    assert await comfy.cancel(done) == "too_late"
    assert not edge.comfyui.audit.charged["runs"] + edge.comfyui.audit.charged["waits"]


@pytest.mark.parametrize(
    ("node", "value", "code"),
    [
        ("4", {"ckpt_name": "gone.safetensors"}, "value_not_in_list"),
        ("5", {"width": 8}, "value_smaller_than_min"),
        ("5", {"width": "wide"}, "invalid_input_type"),
        ("3", {"model": ["99", 0]}, "bad_linked_input"),
        ("3", {"positive": ["4", 0]}, "return_type_mismatch"),
        ("8", {}, "required_input_missing"),
        ("9", None, "prompt_no_outputs"),
    ],
)
async def test_a_graph_that_does_not_fit_is_the_owners(
    edge: Edge, client: httpx.AsyncClient, tmp_path: Path, node: str, value: dict[str, Any] | None, code: str
) -> None:
    for name in ("edit", "text-to-image"):
        graph = json.loads((SHIPPED / f"{name}.json").read_text())
        if name == "text-to-image" and value is None:
            del graph[node]
        elif name == "text-to-image":
            graph[node]["inputs"] = value and {**graph[node]["inputs"], **value}
        (tmp_path / f"{name}.json").write_text(json.dumps(graph))
    comfy = ComfyUIProvider(edge.settings(comfyui_graphs=tmp_path), client)
    error = await refused(comfy, ask())
    assert (error.kind, error.code, error.submitted) == (ErrorKind.MODEL_GONE, code, False)


async def test_a_source_that_is_gone_is_the_sources_fault(comfy: ComfyUIProvider, edge: Edge) -> None:
    edge.comfyui.forget_uploads = True
    error = await refused(comfy, ask(model="edit", sources=(SourceImage(b"x", "image/png"),)))
    assert (error.kind, error.code) == (ErrorKind.BAD_SOURCE, "custom_validation_failed")


@pytest.mark.parametrize(
    ("fault", "kind", "submitted"),
    [
        ("429", ErrorKind.RATE_LIMITED, False),
        ("500", ErrorKind.UPSTREAM, False),
        ("502", ErrorKind.UPSTREAM, True),
        ("503", ErrorKind.OVERLOADED, False),
        ("504", ErrorKind.TIMEOUT, True),
        ("401", ErrorKind.AUTH, False),
        ("reset", ErrorKind.NETWORK, True),
        ("reset_after_accept", ErrorKind.NETWORK, True),
        ("html", ErrorKind.UPSTREAM, True),
        ("empty", ErrorKind.UPSTREAM, True),
        ("truncated_json", ErrorKind.UPSTREAM, True),
        ("wrong_types", ErrorKind.UPSTREAM, True),
    ],
)
async def test_trouble_at_submit_has_a_kind(
    comfy: ComfyUIProvider, edge: Edge, fault: str, kind: ErrorKind, submitted: bool
) -> None:
    edge.faults.add(fault, path="/prompt", retry_after=3)
    error = await refused(comfy, ask())
    assert (error.kind, error.submitted) == (kind, submitted)
    assert error.retry_after == (
        3 if fault.isdigit() and fault not in ("502", "504", "500", "401") else error.retry_after
    )
    assert (await made(comfy, ask())).width == 1024, "the next one works again"


@pytest.mark.parametrize("path", ["/history", "/queue"])
@pytest.mark.parametrize("fault", ["500", "html", "wrong_types", "429"])
async def test_a_failed_poll_is_not_a_failed_generation(
    comfy: ComfyUIProvider, edge: Edge, path: str, fault: str
) -> None:
    edge.faults.add("never_ends")
    ticket = await comfy.submit(ask())
    await runs(edge, ticket)
    edge.faults.add(fault, path=path)
    with contextlib.suppress(ProviderError):
        assert isinstance(await comfy.poll(ticket), Pending)
    assert not edge.faults.active
    found = await comfy.poll(ticket)
    assert isinstance(found, Pending)
    assert found.progress, "it goes on"


@pytest.mark.parametrize(
    ("fault", "kind", "ended"),
    [
        ("fail", ErrorKind.OVERLOADED, True),
        ("not_an_image", ErrorKind.BAD_RESULT, False),
        ("truncated_image", ErrorKind.BAD_RESULT, False),
        ("bomb", ErrorKind.BAD_RESULT, False),
        ("huge", ErrorKind.BAD_RESULT, False),
        ("expired_403", ErrorKind.NOT_FOUND, False),
        ("redirect_private", ErrorKind.BAD_RESULT, False),
        ("redirect_loop", ErrorKind.BAD_RESULT, False),
    ],
)
async def test_a_bad_end_has_a_kind(
    comfy: ComfyUIProvider, edge: Edge, fault: str, kind: ErrorKind, ended: bool
) -> None:
    edge.faults.add(fault)
    error = await refused(comfy, ask())
    assert (error.kind, error.ended) == (kind, ended)


async def test_webp_with_alpha_is_a_picture(comfy: ComfyUIProvider, edge: Edge) -> None:
    edge.faults.add("webp")
    assert (await made(comfy, ask())).mime == "image/webp"


async def test_one_that_is_not_there_is_waited_for_and_then_over(comfy: ComfyUIProvider, edge: Edge) -> None:
    """It was taken out by hand, or ComfyUI was started anew, which forgets all."""
    edge.faults.add("vanish")
    ticket = await comfy.submit(ask())
    await runs(edge, ticket)
    found: Any = Pending()
    while edge.comfyui.running:
        found = await comfy.poll(ticket)
    assert isinstance(found, Pending)
    assert isinstance(await comfy.poll(ticket), Pending)
    for minutes in (-1, 1):
        old = replace(ticket, meta={**ticket.meta, "submitted_at": f"{time.time() + 60 * minutes:.0f}"})
        with pytest.raises(ProviderError) as caught:
            await comfy.poll(old)
        assert (caught.value.kind, caught.value.ended) == (ErrorKind.NOT_FOUND, True)


async def test_settings_that_cannot_work_stop_the_start(
    edge: Edge, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    canvas = {"nodes": [], "links": []}
    for text, told in (
        (None, "is not there or no JSON"),
        ("{", "is not there or no JSON"),
        (json.dumps(canvas), "is no graph as Export"),
        ('{"1": {"class_type": "SaveImage", "inputs": {}}}', "has no {prompt}"),
    ):
        if text is not None:
            (tmp_path / "text-to-image.json").write_text(text)
        with pytest.raises(SettingsError, match=told):
            ComfyUIProvider(edge.settings(comfyui_graphs=tmp_path), client)
    with pytest.raises(SettingsError, match=r"COMFYUI_EDIT_MODEL: its graph has no \{source\}"):
        ComfyUIProvider(edge.settings(comfyui_edit_model="text-to-image"), client)


async def test_check_names_what_is_missing(
    edge: Edge, client: httpx.AsyncClient, comfy: ComfyUIProvider, tmp_path: Path
) -> None:
    assert "has what the graphs text-to-image, edit need" in (await comfy.check()).detail
    for change, told in (
        (("sd_xl_base_1.0.safetensors", "gone.safetensors"), "lacks gone.safetensors as ckpt_name"),
        (
            ("VAEDecode", "VAEDecodeTiled"),
            "lacks the node VAEDecodeTiled, which the graph text-to-image needs",
        ),
    ):
        for name in ("edit", "text-to-image"):
            (tmp_path / f"{name}.json").write_text((SHIPPED / f"{name}.json").read_text().replace(*change))
        other = ComfyUIProvider(edge.settings(comfyui_graphs=tmp_path), client)
        assert told in (await other.check()).detail
    for base in ("http://127.0.0.1:9", f"{edge.base}/openai/v1"):
        assert (
            "check COMFYUI_BASE_URL"
            in (await ComfyUIProvider(edge.settings(comfyui_base_url=base), client).check()).detail
        )


async def test_comfy_toolkit_speaks_to_the_stand_in(edge: Edge) -> None:
    """It is held to the original by a client that others wrote."""
    edge.comfyui.lag = 0.2
    toolkit = comfy_toolkit.ComfyClient(f"{edge.base}/comfyui")
    graph = toolkit.load_workflow(SHIPPED / "text-to-image.json")
    graph["5"]["inputs"] |= {"width": 512, "height": 768}
    graph = comfy_toolkit.customize(graph, positive="a lighthouse", seed=42)

    def all_of_it() -> tuple[list[Any], bytes, dict[str, int]]:
        heard: list[Any] = []
        assert toolkit.is_online()
        result = toolkit.submit_and_track(graph, on_progress=lambda value, of: heard.append((value, of)))
        assert result["status"] == "completed"
        data = toolkit.download(result["images"][0])
        again = toolkit.wait(toolkit.submit(graph), poll_interval=0.05)
        assert again["images"]
        with pytest.raises(comfy_toolkit.ComfySubmitError):
            toolkit.submit({**graph, "9": {"class_type": "Nothing", "inputs": {}}})
        toolkit.interrupt()
        return heard, data, toolkit.queue_status()

    heard, data, queue = await asyncio.to_thread(all_of_it)
    assert heard[-1] == (10, 10)
    assert data.startswith(b"\x89PNG")
    assert queue == {"running": 0, "pending": 0}
    assert edge.comfyui.audit.charged["a lighthouse"] == 2
