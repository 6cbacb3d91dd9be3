"""Real containers by the real `docker compose`, where neither Docker nor a registry is: Podman serves Docker's API.

It runs in namespaces of its own (mounts and network), without a way out, so nothing it does is seen on this machine.
Images are home-made (`Containerfile`); they and Podman's storage stay with the tools, which `tools.sh` fetches.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

ROOT = Path(__file__).parents[2]
TOOLS = Path(os.environ.get("IMAGEBOT_TOOLS") or Path.home() / ".cache/imagebot-tools")
STORAGE = TOOLS / "containers"
WORLD = "192.0.2.1"
"""What the containers take for the internet: an address of TEST-NET-1, of the namespaces' own loopback."""

_ENTER = f"""
set -e
# Podman's crun takes cgroups of version 1 or 2, not of both.
umount /sys/fs/cgroup/unified 2>/dev/null || true
# An empty /run is to Podman what a reboot is: of containers that a killed run left nothing runs.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs {STORAGE}/run
ip link set lo up
ip address add {WORLD}/32 dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
exec "$@"
"""
STAGES = ("redis", "rabbitmq", "collector", "jaeger", "prometheus", "alertmanager", "redis-exporter")
_CLONE_NEWNET = 0x40000000
_TICK = 3.0
WITHIN = 240.0


OF_COMPOSE = ("docker-compose", "base.tar", "otelcol", "jaeger", "prometheus", "alertmanager")
OF_SYSTEMD = ("machine.tar",)


def missing(names: Sequence[str] = OF_COMPOSE) -> str:
    """What cannot be done without; empty where containers can run."""
    if os.geteuid():
        return "needs root"
    if lacking := [name for name in ("podman", "unshare", "ip") if shutil.which(name) is None]:
        return f"needs {', '.join(lacking)} (apt-get install podman crun netavark aardvark-dns iproute2)"
    if lacking := [name for name in names if not (TOOLS / name).exists()]:
        return f"needs {', '.join(lacking)} of tests/compose/tools.sh and tests/jaeger/build.sh"
    return ""


class Engine:
    """Podman's service. `env`: of programs that speak to it."""

    def __init__(self) -> None:
        self.socket = STORAGE / "api.sock"
        self._config = STORAGE / "containers.conf"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(STORAGE), "DOCKER_HOST": f"unix://{self.socket}"}
        self._podman = ["podman", "--root", str(STORAGE / "root"), "--runroot", str(STORAGE / "run")]
        self._podman += ["--storage-driver", "overlay"]
        STORAGE.mkdir(exist_ok=True)
        # It may not be raised here, where podman would.
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 10_000)
        self._config.write_text(
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc=9000:9000"]\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{STORAGE / "networks"}"\n'
            '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )

    def make_images(self, stages: Sequence[str] = STAGES) -> None:
        """Ours, and each that compose/ names, by its full name; with this machine's network, since pip asks its index."""
        if self._run("image", "exists", "base", check=False).returncode:
            self._run("import", TOOLS / "base.tar", "base")
        services: dict[str, Any] = {}
        for file in ("rabbitmq.yaml", "compose.yaml"):
            services |= yaml.safe_load((ROOT / "compose" / file).read_text())["services"]
        named = ((stage, services.get(stage, {}).get("image", stage)) for stage in stages)
        for stage, image in [("python", "base-python"), *named]:
            self._build(Path(__file__).parent / "Containerfile", image, TOOLS, "--target", stage)
        ours = ["--build-arg", "PYTHON_IMAGE=base-python", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        self._build(ROOT / "compose/Dockerfile", services["bot"]["image"], ROOT, *ours)

    def make_machine(self, folder: Path) -> str:
        """The name of an image of a machine that systemd runs, with the repository in /root/imagebot; made in `folder`."""
        if self._run("image", "exists", "machine-base", check=False).returncode:
            self._run("import", TOOLS / "machine.tar", "machine-base")
        for part in ("compose", "observability", "src"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", ".env"))
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / part, folder)
        certificates = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
        self._build(Path(__file__).parent / "Containerfile.machine", "machine", folder, *certificates)
        return "docker.io/library/machine"

    def archive(self, file: Path, *images: str) -> None:
        """Images, all in one file."""
        self._run("save", "-q", "-m", "-o", file, *images)

    def tag(self, image: str, tags: Sequence[str]) -> list[str]:
        """An image under other tags too: their names."""
        named = [f"{image}:{tag}" for tag in tags]
        self._run("tag", f"{image}:0.1.0", *named)
        return named

    def _build(self, file: Path, image: str, context: Path, *options: str) -> None:
        # As Docker names what has no registry in its name.
        host, _, rest = image.partition("/")
        name = image if rest and "." in host else f"docker.io/{'' if rest else 'library/'}{image}"
        how = ["--format", "docker", "--isolation", "chroot", "--network", "host", "--layers", *options]
        if image == "base-python":
            name = f"localhost/{image}"
        self._run("build", "-q", *how, "-f", file, "-t", name, context)

    def _run(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = self.env | {"CONTAINERS_CONF": str(self._config)}
        env |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
        done = subprocess.run([*self._podman, *map(str, words)], env=env, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr[-3000:]
        return done

    @contextmanager
    def running(self) -> Iterator[Engine]:
        """Serve, with the calling thread inside: what it opens and starts is in the containers' world."""
        with (STORAGE / "lock").open("w") as lock:
            # One at a time has the storage.
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield from self._serve()

    def _serve(self) -> Iterator[Engine]:
        self.socket.unlink(missing_ok=True)
        # Without systemd nothing runs health checks; `watched` does.
        env = self.env | {"CONTAINERS_CONF": str(self._config), "DISABLE_HC_SYSTEMD": "true"}
        command = ["unshare", "--mount", "--net", "sh", "-c", _ENTER, "enter", *self._podman]
        command += ["system", "service", "--time=0", f"unix://{self.socket}"]
        with (STORAGE / "service.log").open("w") as log:
            service = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            until = time.monotonic() + 30
            while not self.socket.exists():
                assert service.poll() is None, (STORAGE / "service.log").read_text()
                assert time.monotonic() < until
                time.sleep(0.05)
            inside = os.open(f"/proc/{service.pid}/ns/net", os.O_RDONLY)
            enter(inside)
            self.sweep()
            yield self
        finally:
            if self.socket.exists():
                self.sweep()
            enter(outside)
            service.terminate()
            service.wait()

    def sweep(self) -> None:
        """Leave nothing but images."""
        with self.client() as client:
            for one in client.get("/containers/json", params={"all": "true"}).json():
                client.delete(f"/containers/{one['Id']}", params={"force": "true", "timeout": "0"})
            for kind, key in (("volumes", "Name"), ("networks", "name")):
                for one in client.get(f"/{kind}/json").json():
                    if one[key] != "podman":
                        client.delete(f"/{kind}/{one[key]}", params={"force": "true"})

    def client(self) -> httpx.Client:
        """Of Podman's own API."""
        url = "http://podman/v4.0.0/libpod"
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url=url, timeout=60)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """In systemd's place: the health checks of all containers, in turn, until the block ends."""
        task = asyncio.create_task(self._check_health())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _check_health(self) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        url = "http://podman/v4.0.0/libpod"
        async with httpx.AsyncClient(transport=transport, base_url=url, timeout=60) as client:
            while True:
                for one in (await client.get("/containers/json")).json():
                    # 409: it has no check, or is on its way up or down.
                    await client.get(f"/containers/{one['Id']}/healthcheck")
                await asyncio.sleep(_TICK)


class Machine:
    """A machine as compose/README.md makes it: the repository's folders, with an `.env` of its own."""

    def __init__(self, engine: Engine, folder: Path, name: str, env: Mapping[str, str], *files: str) -> None:
        self.engine = engine
        self.name = name
        self.folder = folder / "compose"
        self._files = [word for file in ("compose.yaml", *files) for word in ("-f", file)]
        for part in ("compose", "observability"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", ".env"))
        (self.folder / ".env").write_text("".join(f"{key}={value}\n" for key, value in env.items()))

    async def compose(self, *words: str, within: float = WITHIN) -> str:
        """What `docker compose WORDS` says.

        Raises:
            AssertionError: it failed; with its words.
        """
        code, said = await self._run(words, within)
        assert code == 0, f"{' '.join(words)}: {said}"
        return said

    async def up(self, *words: str, profile: str = "") -> None:
        """`docker compose up -d WORDS`, until all that runs is healthy, or has no check: what `--wait` does in Docker."""
        await self.compose(*(("--profile", profile) if profile else ()), "up", "-d", "--no-build", *words)
        until = time.monotonic() + WITHIN
        while ill := [one for one in self.containers() if not _is_well(one["State"])]:
            assert time.monotonic() < until, [(service_of(one), one["State"]) for one in ill]
            await asyncio.sleep(0.2)

    async def execute(self, service: str, *command: str) -> tuple[int, str]:
        """Exit code and words of a command in a service's first container."""
        return await self._run(("exec", "-T", service, *command), 60)

    async def _run(self, words: Sequence[str], within: float) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(TOOLS / "docker-compose"), "-p", self.name, *self._files, *words),
            env=self.engine.env,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), within)
        except TimeoutError:
            process.kill()
            raise
        return process.returncode or 0, said.decode()

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """All of this machine (of one service), as `podman inspect` tells them."""
        labels = [f"com.docker.compose.project={self.name}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        with self.engine.client() as client:
            query = {"all": "true", "filters": json.dumps({"label": labels})}
            found = client.get("/containers/json", params=query).raise_for_status().json()
            return [client.get(f"/containers/{one['Id']}/json").json() for one in found]

    def address(self, service: str, network: str) -> str:
        (one,) = self.containers(service)
        return str(one["NetworkSettings"]["Networks"][f"{self.name}_{network}"]["IPAddress"])


def service_of(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def _is_well(state: dict[str, Any]) -> bool:
    return state["Running"] and (state.get("Health") or {}).get("Status") in (None, "", "healthy")


def enter(namespace: int) -> None:
    """The calling thread goes into a network. Python has this from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(namespace, _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    os.close(namespace)
