"""The chart in a real Kubernetes of two nodes: each kind of update, eviction and loss under load, and the audit after it.

A soak of some minutes: `pytest -n 0 -s -m soak tests/compose/test_cluster.py`. What it stands on: cluster.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.jobs import keys
from tests.chaos.audit import Asked
from tests.compose.cluster import Cluster
from tests.compose.containers import ROOT, TOOLS, WORLD, missing
from tests.compose.test_containers import PORT, PROBE, ask, judged, one_picture, say, settings, timed
from tests.servers import RedisAt
from tests.system import System

pytestmark = [pytest.mark.soak, pytest.mark.timeout(2400)]

PROGRAMS = ("containerd", "iptables", "openssl", "runc", "/usr/lib/cni/ptp")
PACKAGES = ("containerd", "containernetworking-plugins", "iptables", "openssl")
CHART = str(ROOT / "compose/helm")
WITHIN = 240.0
DOOR = 30080
REDIS = f"redis://:a-password-of-redis@{WORLD}:6379/0"
SECRET = {"TELEGRAM_TOKEN", "KIE_API_KEY", "OPENAI_API_KEY"}

# Pods may do here what the strictest of Kubernetes' own standards allows. What an ingress controller would do from
# outside, the door does: it leads to whichever api is ready. The disk is node-1's.
WORLD_OF_IT = """
apiVersion: v1
kind: Namespace
metadata:
  name: bot
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: Service
metadata: {name: door, namespace: bot}
spec:
  type: NodePort
  selector: {app.kubernetes.io/instance: bot, app.kubernetes.io/component: api}
  ports: [{port: 80, targetPort: http, nodePort: 30080}]
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  local: {path: DISK}
  nodeAffinity:
    required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node-1]}]}]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing(("base.tar", "kube")):
        pytest.skip(why)
    path = f"{TOOLS}:{os.environ['PATH']}"
    if lacking := [name for name in ("helm", *PROGRAMS) if shutil.which(name, path=path) is None]:
        pytest.skip(
            f"needs {', '.join(lacking)} (tests/compose/tools.sh helm; apt-get install {' '.join(PACKAGES)})"
        )
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    with cluster.running(["0.1.0", "0.1.1"]):
        yield cluster


async def test_the_chart_lives_in_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    release = Release(cluster, tmp_path)
    async with at_work(release) as system:
        await hardened(release)
        asked = [await one_picture(system)]
        system.kie.durations = (2.0, 6.0)
        for step in (updated, unable_to_start, killed, led, drained, lost):
            async with under_load(system, asked):
                await step(release, system)
            await judged(system, asked)
        await release.backed_up()
        release.ended_well()


async def updated(release: Release, system: System) -> None:
    say("`helm upgrade`, another tag: bot, worker and api", await seconds(release.upgrade(tag="0.1.1")))
    assert {pod["spec"]["containers"][0]["image"] for pod in await release.pods()} == {"imagebot:0.1.1"}


async def unable_to_start(release: Release, system: System) -> None:
    """A version with a wrong setting takes nobody's place, and nobody's settings."""
    before = await release.names("bot", "worker", "api")
    with pytest.raises(AssertionError, match="UPGRADE FAILED"):
        await release.upgrade("--set", "settings.PROVIDER=nobody", "--timeout", "60s")
    assert before <= await release.names("bot", "worker", "api", ready=True)
    await release.restarts_as_it_was(sorted(await release.names("worker") & before)[0])
    say("`helm rollback`", await seconds(release.roll_back()))
    assert before == await release.names("bot", "worker", "api", ready=True)


async def killed(release: Release, system: System) -> None:
    for part in ("bot", "worker", "api"):
        one = sorted(await release.names(part))[0]
        await release.cluster.kubectl("delete", "pod", one, "-n", "bot", "--grace-period=0", "--force")
        say(f"`delete pod --grace-period=0` of {part}, to ready", await seconds(release.rolled_out()))


async def led(release: Release, system: System) -> None:
    leader = await release.leader(system)
    await release.cluster.kubectl("delete", "pod", leader, "-n", "bot", "--wait=false")
    took = await seconds(release.led_by_another(system, leader))
    say("the leading bot deleted, to another that leads", took)
    await release.rolled_out()


async def drained(release: Release, system: System) -> None:
    drain = ("drain", "--delete-emptydir-data", "--timeout=200s")
    say("`drain` of a node", await seconds(release.cluster.kubectl(*drain, "node-2", within=220)))
    await release.rolled_out()
    assert {pod["spec"]["nodeName"] for pod in await release.pods()} == {"node-1"}
    # There is no other node: the budget keeps what there is.
    drain = ("kubectl", "drain", "--delete-emptydir-data", "--timeout=30s", "node-1")
    code, words = await release.cluster.tried(*drain)
    assert code
    assert "violate the pod's disruption budget" in words
    for part in ("bot", "worker", "api"):
        assert await release.names(part, ready=True), part
    await release.cluster.kubectl("uncordon", "node-1", "node-2")
    await release.rolled_out()


async def lost(release: Release, system: System) -> None:
    say("three workers of two", await seconds(release.upgrade("--set", "worker.replicas=3")))
    assert len(await release.names("worker", ready=True)) == 3
    release.cluster.nodes["node-2"].kill()
    say("a node dies, to all ready on the other", await seconds(release.all_on("node-1")))
    release.cluster.nodes["node-2"].start()
    await release.cluster.ready()
    say("one worker of three, the node back", await seconds(release.upgrade("--set", "worker.replicas=1")))


# What it is made of


class Release:
    """The chart, installed as `bot` in a namespace of its own."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.disk = folder / "disk"
        self.disk.mkdir()
        self._values = folder / "values.yaml"
        said = {
            **settings(),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{WORLD}:{PORT}",
            "WEBHOOK_URL": f"http://127.0.0.1:{DOOR}",
            "WEBHOOK_SECRET": "a-secret-of-the-webhook",
        }
        del said["REDIS_PASSWORD"]
        self.secrets = {name: said.pop(name) for name in (*SECRET, "WEBHOOK_SECRET")} | {"REDIS_URL": REDIS}
        values = {
            "settings": said,
            "bot": {"replicas": 2},
            "worker": {"replicas": 2},
            "backup": {"storageClass": "local"},
            "networkPolicy": {"egressPorts": [PORT, 6379]},
        }
        self._values.write_text(yaml.safe_dump(values))
        self._tag = "0.1.0"
        self._watch = folder / "watch"

    async def install(self) -> None:
        kubectl = self.cluster.kubectl
        await self.cluster.ready()
        await kubectl("apply", "-f", "-", said=WORLD_OF_IT.replace("DISK", str(self.disk)))
        literals = [f"--from-literal={name}={value}" for name, value in self.secrets.items()]
        await kubectl("create", "secret", "generic", "imagebot", "-n", "bot", *literals)
        watch = ("kubectl", "get", "pods", "-n", "bot", "--watch", "-o", "json")
        with self._watch.open("wb") as out:
            self._watching = subprocess.Popen(watch, stdout=out, stderr=out)
        say("`helm install --wait`", await seconds(self.upgrade()))

    async def upgrade(self, *words: str, tag: str = "") -> None:
        self._tag = tag or self._tag
        command = (
            "helm",
            "upgrade",
            "--install",
            "bot",
            CHART,
            "-n",
            "bot",
            "-f",
            str(self._values),
            "--wait",
        )
        await self.cluster.run(*command, "--set-string", f"image.tag={self._tag}", *words, within=WITHIN)
        await self.rolled_out()

    async def roll_back(self) -> None:
        await self.cluster.run("helm", "rollback", "bot", "-n", "bot", "--wait", within=WITHIN)
        await self.rolled_out()

    async def rolled_out(self) -> None:
        """Until each part has all its pods ready, and none on its way out."""
        for part in ("bot", "worker", "api", "backup"):
            words = ("rollout", "status", f"deployment/bot-{part}", "-n", "bot", f"--timeout={WITHIN:.0f}s")
            await self.cluster.kubectl(*words, within=WITHIN + 5)
        async with asyncio.timeout(WITHIN):
            while any("deletionTimestamp" in pod["metadata"] for pod in await self.pods()):
                await asyncio.sleep(0.2)

    async def pods(self) -> list[dict[str, Any]]:
        return await self.cluster.get("pods", "-n", "bot")

    async def names(self, *parts: str, ready: bool = False) -> set[str]:
        return {
            pod["metadata"]["name"]
            for pod in await self.pods()
            if part_of(pod) in parts
            and "deletionTimestamp" not in pod["metadata"]
            and (not ready or is_ready(pod))
        }

    async def restarts_as_it_was(self, name: str) -> None:
        """A pod whose process ends starts it again with the settings that the pod was made with."""
        end = ("exec", "-n", "bot", name, "--", "python", "-c", "import os; os.kill(1, 15)")
        await self.cluster.kubectl(*end)
        async with asyncio.timeout(WITHIN):
            while True:
                (pod,) = [pod for pod in await self.pods() if pod["metadata"]["name"] == name]
                if pod["status"]["containerStatuses"][0]["restartCount"] and is_ready(pod):
                    return
                await asyncio.sleep(0.5)

    async def leader(self, system: System) -> str:
        """The pod of the bot that answers; empty: none does."""
        async for key in system.redis.scan_iter(keys.LEASE("inbox:*")):
            return str(await system.redis.get(key)).rpartition(":")[0]
        return ""

    async def led_by_another(self, system: System, old: str) -> None:
        async def is_so() -> bool:
            return await self.leader(system) not in ("", "None", old)

        await system.until(is_so)

    async def all_on(self, node: str) -> None:
        """Until every part is ready there."""
        deployments = await self.cluster.get("deployments", "-n", "bot")
        wanted = Counter({one["metadata"]["name"]: one["spec"]["replicas"] for one in deployments})
        async with asyncio.timeout(2 * WITHIN):
            while True:
                there = [
                    pod for pod in await self.pods() if pod["spec"].get("nodeName") == node and is_ready(pod)
                ]
                if not wanted - Counter(f"bot-{part_of(pod)}" for pod in there):
                    return
                await asyncio.sleep(0.5)

    async def backed_up(self) -> None:
        (one,) = await self.names("backup")
        async with asyncio.timeout(WITHIN):
            while not (files := sorted(self.disk.glob("imagebot-*.backup"))):
                await asyncio.sleep(0.2)
        assert files[0].stat().st_uid == 10001
        await self.cluster.kubectl("exec", "-n", "bot", one, "--", "imagebot", "backup", "/data/now.backup")

    def ended_well(self) -> None:
        """No container ended by another's will but those of pods that were deleted by force, and of the broken version."""
        self._watching.kill()
        self._watching.wait()
        ends: dict[tuple[str, int], dict[str, Any]] = {}
        for pod in objects(self._watch.read_text()):
            for one in pod["status"].get("containerStatuses", ()):
                for state in (one["state"], one["lastState"]):
                    if ended := state.get("terminated"):
                        ends[pod["metadata"]["name"], one["restartCount"]] = ended
        said = [(name.split("-")[1], end["exitCode"], end["reason"]) for (name, _), end in ends.items()]
        for each in sorted(set(said)):
            say(f"ended: {each[0]}, exit code {each[1]} ({each[2]})", said.count(each))
        # By itself; for the wrong setting; with its node.
        assert {code for _, code, _ in said} <= {0, 78, 255}


def part_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def is_ready(pod: dict[str, Any]) -> bool:
    found = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return found.get("Ready") == "True"


def objects(words: str) -> Iterator[dict[str, Any]]:
    """Of a stream of JSON."""
    decoder, at = json.JSONDecoder(), 0
    while (start := words.find("{", at)) >= 0:
        try:
            one, at = decoder.raw_decode(words, start)
        except json.JSONDecodeError:
            return
        yield one


@asynccontextmanager
async def at_work(release: Release) -> AsyncIterator[System]:
    """The world around the release, and all of it ready."""
    options = ("--bind", "0.0.0.0", "--port", "6379", "--requirepass", "a-password-of-redis")
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    redis = RedisAt(release.disk.parent / "redis", REDIS, *options, *kept, port=6379)
    system = System(release.disk.parent, {}, redis, (WORLD, PORT))
    await system.open()
    try:
        await release.install()
        yield system
    finally:
        for what in ("pods -o wide", "events"):
            _, words = await release.cluster.tried("kubectl", "get", "-n", "bot", *what.split())
            (release.disk.parent / what.split()[0]).write_text(words)
        await system.close()


@asynccontextmanager
async def under_load(system: System, asked: list[Asked]) -> AsyncIterator[None]:
    """A picture a second is asked for until the block ends, at least twenty."""
    more: list[Asked] = []

    async def keep_asking() -> None:
        while True:
            more.extend(await ask(system, 1, every=1.0))

    asking = asyncio.create_task(keep_asking())
    try:
        await system.until(lambda: len(more) >= 3)
        yield
        await system.until(lambda: len(more) >= 20)
    finally:
        asking.cancel()
        await asyncio.wait([asking])
        asked += more


async def hardened(release: Release) -> None:
    for pod in await release.pods():
        name = pod["metadata"]["name"]
        words = await release.cluster.kubectl("exec", "-n", "bot", name, "--", "python", "-c", PROBE)
        assert json.loads(words) == ["10001", "0000000000000000", "1", "Read-only file system"], name
        assert pod["status"]["qosClass"] == "Burstable"
    said = await release.cluster.kubectl("get", "all,configmap", "-n", "bot", "-o", "yaml")
    assert not [name for name, value in release.secrets.items() if value in said]


async def seconds(call: Awaitable[object]) -> str:
    return f"{await timed(call):.1f} s"
