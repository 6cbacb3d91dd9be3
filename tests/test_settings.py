"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings

from src import settings
from src.settings import Settings, SettingsError, load_settings

TOKEN = "123456:AA-token-of-a-test-that-opens-nothing"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as Docker and Kubernetes mount secrets."""
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    (tmp_path / "telegram_token").write_text(f"{TOKEN}\n")
    (tmp_path / "redis_url").write_text("rediss://bot:secret@redis:6380/0\n")
    (tmp_path / "admin_ids").write_text("1, 2\n")
    (tmp_path / "..data").mkdir()
    return tmp_path


def test_from_files(secrets: Path) -> None:
    settings = load_settings()
    assert settings.telegram_token is not None
    assert settings.telegram_token.get_secret_value() == TOKEN
    assert settings.redis_url == "rediss://bot:secret@redis:6380/0"
    assert settings.admin_ids == (1, 2)
    assert {TOKEN, "secret"} <= set(settings.secrets())


def test_the_environment_comes_first(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://another")
    assert load_settings().redis_url == "redis://another"


def test_a_file_of_another_name_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("REDIS_URL=redis://usual\n")
    (tmp_path / "other").write_text("REDIS_URL=redis://other\n")
    assert load_settings().redis_url == "redis://usual"
    monkeypatch.setenv("ENV_FILE", "other")
    assert load_settings().redis_url == "redis://other"
    monkeypatch.setenv("ENV_FILE", "")
    assert load_settings().redis_url is None


class OfPlugin(BaseModel):
    """What a provider of somebody else's may declare."""

    fox_model: str = Field("none", validation_alias="FOX_NAME")
    fox_sizes: dict[str, int] = {}


@pytest.mark.parametrize(
    "variables",
    [
        {"FOX_NAME": "red"},
        {"fox_name": "red", "Redis_Url": "redis://mixed", "FOX_SIZES": '{"a": 1}'},
        {"FOX_MODEL": "not by its alias", "rate_limit": "7", "FOX_SIZES": ""},
    ],
)
def test_the_environment_is_read_as_the_library_does(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    class Library(OfPlugin, BaseSettings, env_ignore_empty=True):
        redis_url: str | None = None
        rate_limit: int = Settings.model_fields["rate_limit"].default

    class Ours(Settings, OfPlugin):
        pass

    monkeypatch.setattr(settings, "settings_class", lambda: Ours)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found: dict[str, Any] = Library().model_dump()
    assert load_settings().model_dump(include=set(found)) == found
    monkeypatch.setenv("FOX_SIZES", "my secret")
    with pytest.raises(SettingsError, match=r'"fox_sizes".*: expected JSON') as error:
        load_settings()
    assert "my secret" not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("named", [None, "other"])
def test_a_file_may_come_through_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if named:
        monkeypatch.setenv("ENV_FILE", named)
    pipe = tmp_path / (named or ".env")
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("REDIS_URL=redis://piped\n",), daemon=True)
    writer.start()
    assert load_settings().redis_url == "redis://piped"
    writer.join(30)


def test_a_wrong_file_is_named_and_not_shown(secrets: Path) -> None:
    (secrets / "telegram_token").write_text("my secret")
    with pytest.raises(SettingsError, match="TELEGRAM_TOKEN: expected the token") as error:
        load_settings()
    assert "my secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("job_deadline", 5, "10 or more"),
        ("job_deadline", 99_999, "86400 or less"),
        ("telegram_rate", 0, "more than 0"),
    ],
)
def test_a_number_out_of_bounds_is_told_them(name: str, value: int, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{name.upper()}: expected {said}$"):
        load_settings(**{name: value})


def test_a_folder_of_secrets_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(SettingsError, match="check ENV_FILE, SECRETS_DIR and who may read"):
        load_settings()


def test_without_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "nothing"))
    assert load_settings().telegram_token is None


def test_hosts_of_results() -> None:
    settings = load_settings(provider_result_hosts=" CDN.example.com, .b.example ,https://c.example:8443/")
    assert settings.provider_result_hosts == ("cdn.example.com", ".b.example", "https://c.example:8443")
    for wrong in ("https://a.example/path", "ftp://a.example", "https://me@a.example"):
        with pytest.raises(SettingsError, match="PROVIDER_RESULT_HOSTS: expected hosts"):
            load_settings(provider_result_hosts=wrong)


def test_what_is_sold_is_checked_at_the_start() -> None:
    assert not load_settings().sells
    settings = load_settings(star_packs="50=10, 200=50", star_monthly="300=100", admin_ids="1")
    assert settings.sells
    assert settings.star_packs == ((50, 10), (200, 50))
    assert settings.star_monthly == (300, 100)
    for wrong in ("50", "50=", "0=1", "1=0", "50=10,50=20", "10001=5", "a=b", "50=10;60=20", ""):
        with pytest.raises(SettingsError, match="STAR_PACKS: expected"):
            load_settings(star_packs=wrong, admin_ids="1")
    with pytest.raises(SettingsError, match="STAR_MONTHLY: expected one"):
        load_settings(star_monthly="50=10,60=20", admin_ids="1")
    with pytest.raises(SettingsError, match="FREE_PICTURES_DAY"):
        load_settings(free_pictures_day=-1)
    with pytest.raises(SettingsError, match="ADMIN_IDS: is needed with STAR_PACKS"):
        load_settings(star_packs="50=10")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "TELEGRAM_TOKEN", "KIE_WEBHOOK_KEY", "S3_SECRET_KEY"])
def test_a_key_of_blanks_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, " \n ")
    found = load_settings()
    assert getattr(found, name.lower()) is None
    assert "openai" not in found.providers


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("HEARTBEAT_URL", "https://{}/x"),
        ("OPENAI_BASE_URL", "https://{}"),
        ("PROXY_URL", "http://{}:80"),
        ("REDIS_URL", "redis://{}"),
        ("REDIS_URL", "redis+sentinel://{}/main"),
        ("BROKER_URL", "amqp://{}"),
    ],
)
def test_a_host_that_no_name_can_be(
    name: str, address: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking one up raises no OSError."""
    monkeypatch.setenv(name, address.format(host))
    with pytest.raises(SettingsError, match=rf"\n  {name}: expected"):
        load_settings()
