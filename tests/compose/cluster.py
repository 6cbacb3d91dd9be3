"""A real Kubernetes where no registry is: control plane and nodes of upstream's own source (`tools.sh kube`), containerd, runc.

Each runs in namespaces of its own and ends with them, all in one network without a way out. The nodes have the images
of containers.py. There is no DNS and no ingress controller: what the pods need stands at an address.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from tests.compose.containers import TOOLS, WORLD, Engine, enter

NODES = {"node-1": "192.0.2.11", "node-2": "192.0.2.12"}
IMAGE = "docker.io/library/imagebot"
_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
_SERVICES = "10.96.0.0/16"
_API = f"https://{WORLD}:6443"
_GROUPS = {
    "admin": "system:masters",
    **dict.fromkeys((f"system:node:{name}" for name in NODES), "system:nodes"),
}

_CONTROL = f"""
set -e
ip link set lo up
for address in {WORLD} {" ".join(NODES.values())}; do ip address add $address/32 dev lo; done
ip route add {_SERVICES} dev lo src {WORLD}
echo 1 >/proc/sys/net/ipv4/ip_forward
etcd --data-dir etcd --unsafe-no-fsync >etcd.log 2>&1 &
kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address {WORLD} --secure-port 6443 --cert-dir certificates \\
    --token-auth-file tokens --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \\
    --kubelet-preferred-address-types InternalIP --service-cluster-ip-range {_SERVICES} --service-account-issuer {_API} \\
    --service-account-key-file accounts.key --service-account-signing-key-file accounts.key >api.log 2>&1 &
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.5; done
kube-controller-manager --kubeconfig admin.yaml --service-account-private-key-file accounts.key >manager.log 2>&1 &
kube-scheduler --kubeconfig admin.yaml >scheduler.log 2>&1 &
kube-proxy --kubeconfig admin.yaml --hostname-override node-1 --cluster-cidr 10.244.0.0/16 --oom-score-adj 0 \\
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0 >proxy.log 2>&1 &
wait
"""

# A kubelet sets some of the whole machine's numbers; it finds them set.
_NODE = """
set -e
umount /sys/fs/cgroup/unified 2>/dev/null || true
for all in /sys/fs/cgroup/*/; do
    group=$all$NODE
    mkdir -p $group
    [ ! -e $group/cpuset.cpus ] || for name in cpus mems; do cat $all/cpuset.$name >$group/cpuset.$name; done
    # Else all its pods together would get what one process of this machine gets.
    [ ! -e $group/cpu.shares ] || echo 6144 >$group/cpu.shares
    echo $$ >$group/cgroup.procs
done
mkdir -p lib
mount --bind lib /var/lib
for folder in /run /var/log; do mount -t tmpfs tmpfs $folder; done
for number in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \\
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    mkdir -p /run/numbers/$(dirname $number)
    echo ${number#*=} >/run/numbers/${number%=*}
    mount --bind /run/numbers/${number%=*} /proc/sys/${number%=*}
done
containerd --config containerd.toml >containerd.log 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
ctr -n k8s.io images import ../images.tar
exec kubelet --config kubelet.yaml --kubeconfig kubeconfig.yaml --hostname-override $NODE --node-ip $ADDRESS
"""

_CONTAINERD = """
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:latest"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{folder}/cni"
"""


def running_alone(script: str, *unshared: str) -> list[str]:
    """A shell script in namespaces of its own, which ends with all its processes when this process or `unshare` does."""
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*command, "--mount-proc", *unshared, "sh", "-c", script]


class Node:
    """A machine of the cluster."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / name
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None
        number = [*NODES].index(name)
        (self.folder / "cni").mkdir(parents=True)
        (self.folder / "containerd.toml").write_text(_CONTAINERD.format(folder=self.folder))
        ranges = [[{"subnet": f"10.244.{number}.0/24"}]]
        ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
        plugins = [{"type": "ptp", "ipam": ipam}]
        (self.folder / "cni/pods.conflist").write_text(
            json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": plugins})
        )
        (self.folder / "kubelet.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "kind": "KubeletConfiguration",
                    "address": NODES[name],
                    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
                    "authorization": {"mode": "AlwaysAllow"},
                    "cgroupDriver": "cgroupfs",
                    "cgroupRoot": f"/{name}",
                    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
                    "evictionHard": {
                        "memory.available": "100Mi",
                        "nodefs.available": "1%",
                        "imagefs.available": "1%",
                    },
                    "failSwapOn": False,
                    "healthzPort": 0,
                    "oomScoreAdj": 0,
                    "resolvConf": "",
                }
            )
        )

    def start(self) -> None:
        """Switch it on."""
        with (self.folder / "kubelet.log").open("ab") as log:
            env = os.environ | {"NODE": self.name, "ADDRESS": NODES[self.name]}
            self._process = subprocess.Popen(
                running_alone(_NODE), cwd=self.folder, env=env, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """As if its plug were pulled, with all that runs on it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        until = time.monotonic() + 10
        while groups := [
            *Path("/sys/fs/cgroup").glob(f"*/{self.name}"),
            *Path("/sys/fs/cgroup").glob(f"*/{self.name}/**/"),
        ]:
            # Its last processes may not be gone yet.
            assert time.monotonic() < until, groups
            for group in sorted(set(groups), reverse=True):
                with suppress(OSError):
                    group.rmdir()


class Cluster:
    """The API and its nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for name in _NAMES:
            (programs / name).symlink_to(TOOLS / "kube")
        os.environ["PATH"] = f"{programs}:{TOOLS}:{os.environ['PATH']}"
        os.environ["KUBECONFIG"] = str(folder / "admin.yaml")
        (folder / "tokens").write_text(
            "".join(f"{user},{user},{user},{of}\n" for user, of in _GROUPS.items())
        )
        subprocess.run(
            ["openssl", "genrsa", "-out", folder / "accounts.key"], check=True, capture_output=True
        )
        self.nodes = {name: Node(folder, name) for name in NODES}
        self._write_access(folder / "admin.yaml", "admin")
        for name, node in self.nodes.items():
            self._write_access(node.folder / "kubeconfig.yaml", f"system:node:{name}")

    def _write_access(self, file: Path, user: str) -> None:
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [
                        {"name": "it", "cluster": {"server": _API, "insecure-skip-tls-verify": True}}
                    ],
                    "users": [{"name": "it", "user": {"token": user}}],
                    "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
                    "current-context": "it",
                }
            )
        )

    @contextmanager
    def running(self, tags: Sequence[str]) -> Iterator[Cluster]:
        """With our image under each of the tags; the calling thread is in the cluster's network meanwhile."""
        engine = Engine()
        engine.make_images(["pause"])
        engine.archive(self.folder / "images.tar", "docker.io/library/pause:latest", *engine.tag(IMAGE, tags))
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with (self.folder / "control.log").open("wb") as log:
            control = subprocess.Popen(
                running_alone(_CONTROL, "--net"), cwd=self.folder, stdout=log, stderr=log
            )
        try:
            there = Path(f"/proc/{control.pid}/ns/net")
            until = time.monotonic() + 30
            while there.readlink() == Path("/proc/thread-self/ns/net").readlink():
                assert time.monotonic() < until
                time.sleep(0.01)
            enter(os.open(there, os.O_RDONLY))
            for node in self.nodes.values():
                node.start()
            yield self
        finally:
            for node in self.nodes.values():
                node.kill()
            enter(outside)
            control.kill()
            control.wait()

    async def ready(self, within: float = 400.0) -> None:
        """Until it answers and has its nodes."""
        async with asyncio.timeout(within):
            ask = ("kubectl", "wait", "node", *NODES, "--for=condition=Ready", "--timeout=30s")
            while (await self.tried(*ask))[0]:
                await asyncio.sleep(0.5)

    async def kubectl(self, *words: str, said: str = "", within: float = 120.0) -> str:
        """What `kubectl WORDS` says; `said`: what it reads."""
        return await self.run("kubectl", *words, said=said, within=within)

    async def run(self, *command: str, said: str = "", within: float = 120.0) -> str:
        """Raises AssertionError, with its words, where the command fails."""
        code, words = await self.tried(*command, said=said, within=within)
        assert code == 0, f"{' '.join(command)}: {words}"
        return words

    async def tried(self, *command: str, said: str = "", within: float = 120.0) -> tuple[int, str]:
        """Its exit code and words."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            words, _ = await asyncio.wait_for(process.communicate(said.encode()), within)
        except TimeoutError:
            process.kill()
            raise
        return process.returncode or 0, words.decode()

    async def get(self, what: str, *words: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        found: list[dict[str, Any]] = json.loads(await self.kubectl("get", what, *words, "-o", "json"))[
            "items"
        ]
        return found
