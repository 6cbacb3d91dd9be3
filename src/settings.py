"""Every setting of the system: its environment variable, unit, default and check. A provider's own are declared in its
file and found through its client.

Read once a process by `get_settings()`. A missing or malformed setting stops the start with its
name and what was expected; the value itself is never shown, it may be a secret.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import ipaddress
import os
import pkgutil
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as UnreadableSource

from src.store.addresses import host_in, passwords_in, sentinel_address

_TOKEN = re.compile(r"\d{3,}:[A-Za-z0-9_-]{20,}")


class UserError(Exception):
    """An error that a person can fix: `imagebot` prints its text, without a traceback.

    Attributes:
        exit_code: of `imagebot`, by the words of sysexits.h where one fits.
    """

    exit_code = 1


class SettingsError(UserError):
    """Settings that cannot be started with; its text names each one and says what to do."""

    exit_code = os.EX_CONFIG


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not host_in(parts) or parts.port == 0:
        raise ValueError("expected an address such as https://example.com")
    if parts.username or parts.password:
        raise ValueError("expected an address without a user name or password in it")
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
"""An http or https address."""


def _redis_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        known = parts.scheme in {"redis", "rediss", "unix"} and (parts.port or 1) > 0
        known = known and host_in(parts) == (parts.hostname or "")
        known = known or sentinel_address(value) is not None
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            "expected an address such as redis://localhost:6379/0, rediss://…, unix://… or "
            "redis+sentinel://host1:26379,host2:26379/name/0"
        )
    return value


RedisAddress = Annotated[str, AfterValidator(_redis_address)]
"""The address of a Redis, or of its sentinels."""


def _proxy(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    parts = urlsplit(text)
    try:
        known = parts.scheme in {"http", "socks5"} and bool(host_in(parts)) and bool(parts.port)
    except ValueError:
        known = False
    if text != DIRECT and (not known or parts.path.strip("/") or parts.query):
        raise ValueError("expected http://host:port or socks5://user:password@host:port, or none")
    return value


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(value))
    except OSError:
        raise ValueError("expected a readable file of certificates in PEM") from None
    return value


DIRECT = "none"
ProxyAddress = Annotated[SecretStr, AfterValidator(_proxy)]
"""Address of an http or socks5 proxy, which may hold a password; `none`: no proxy."""
CaFile = Annotated[Path, AfterValidator(_certificates)]
"""A file of certificates that vouch for a server."""


@dataclass(frozen=True, slots=True)
class Way:
    """The way to a server: the proxy's address with its password, and certificates beside the machine's own."""

    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @property
    def shown(self) -> str:
        """Where the proxy is, without its password; empty: there is none."""
        return urlsplit(self.proxy).netloc.rpartition("@")[2] if self.proxy else ""


# What every provider has beside the settings in its file, which may declare them otherwise.
_OF_ROUTE: dict[str, tuple[Any, Any]] = {
    "proxy_url": (
        ProxyAddress | None,
        Field(None, description="Another proxy for one provider, such as `KIE_PROXY_URL`; `none`: no proxy."),
    ),
    "ca_file": (
        CaFile | None,
        Field(
            None,
            description="Certificates (PEM) that vouch for one provider's servers beside the machine's own, such as `OPENAI_CA_FILE`.",
        ),
    ),
}


class Cap(NamedTuple):
    """The most that may be spent: pictures, or money in a currency."""

    amount: float
    unit: str


def _cap(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    said = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(pictures?|[A-Za-z]{3})", value.strip(), re.I)
    if said is None:
        raise ValueError("expected an amount and its unit, such as `20 USD` or `500 pictures`")
    unit = said[2].lower()
    return Cap(float(said[1]), "pictures" if unit.startswith("picture") else unit.upper())


DayCap = Annotated[Cap | None, NoDecode, BeforeValidator(_cap)]
"""A cap in words."""


class Pack(NamedTuple):
    """What is sold: pictures, for Telegram Stars."""

    stars: int
    pictures: int


# The most that Telegram takes for a subscription.
_MOST_STARS = 10_000
_MOST_PICTURES = 100_000
_MOST_PACKS = 8


def _packs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    said = [re.fullmatch(r"\s*(\d{1,6})\s*=\s*(\d{1,6})\s*", part) for part in value.split(",")]
    packs = tuple(Pack(int(part[1]), int(part[2])) for part in said if part)
    if None in said or not all(
        1 <= pack.stars <= _MOST_STARS and 1 <= pack.pictures <= _MOST_PICTURES for pack in packs
    ):
        raise ValueError(
            f"expected stars=pictures, separated by commas, such as 50=10,200=50; at most {_MOST_STARS} stars each"
        )
    if len({pack.stars for pack in packs}) < len(packs) or len(packs) > _MOST_PACKS:
        raise ValueError(f"expected at most {_MOST_PACKS} packs, each for another number of stars")
    return packs


def _one_pack(value: Any) -> Any:
    packs = _packs(value)
    if isinstance(value, str) and len(packs) != 1:
        raise ValueError("expected one stars=pictures, such as 300=100")
    return packs[0] if isinstance(value, str) else value


Packs = Annotated[tuple[Pack, ...], NoDecode, BeforeValidator(_packs)]
OnePack = Annotated[Pack | None, NoDecode, BeforeValidator(_one_pack)]
"""Packs in words."""


def _words(value: Path) -> Path:
    try:
        value.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise ValueError("expected a readable file of words in UTF-8") from None
    return value


WordsFile = Annotated[Path, AfterValidator(_words)]
"""A text file."""


class Settings(BaseSettings):
    """The settings but those of the providers, which `load_settings` adds. A field `telegram_token` is the environment variable `TELEGRAM_TOKEN`."""

    model_config = SettingsConfigDict(
        env_file_encoding="utf-8",
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
        # Only the class with all providers' settings is ever used.
        defer_build=True,
    )

    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Folder with a file for each setting that shall not stand in the environment: `telegram_token`, `redis_url` …",
    )

    # Telegram
    telegram_token: SecretStr | None = Field(None, description="Bot token from @BotFather (`123456:ABC…`).")
    telegram_api_url: Address = Field(
        "https://api.telegram.org", description="Bot API server; a local one lifts the file limits."
    )
    telegram_api_local: bool = Field(
        False,
        description="That server runs with `--local`: its files are read from a shared volume, at the path it names.",
    )
    telegram_proxy_url: ProxyAddress | None = Field(
        None, description="Another proxy than `PROXY_URL` on the way to Telegram; `none`: no proxy."
    )
    admin_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Telegram user ids of the admins, separated by commas."
    )
    inline_storage_chat: int | None = Field(
        None,
        description="Chat that takes the pictures of inline mode (`@bot a fox` in any chat), which stay there unless their person deletes them within two days, as Telegram takes no upload where they are shown: the id of a channel in which the bot may post (15 pictures a minute), or of somebody who started it and wants them all (60); unset: inline mode shows only what a person has.",
    )
    webhook_url: str | None = Field(
        None, description="Public https address of this system's `api`; unset: the bot polls for updates."
    )
    mini_app_url: str | None = Field(
        None,
        description="Public https address of the Mini App (`/app` of this system's `api`) where the bot polls; with `WEBHOOK_URL` it is known.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="1-256 of `A-Za-z0-9_-`; Telegram sends it with every webhook call."
    )

    # Redis, RabbitMQ and the data folder
    redis_url: RedisAddress | None = Field(
        None,
        description="`redis://`, `rediss://` or `unix://` address, or `redis+sentinel://host1:26379,host2:26379/name/0` (`rediss+sentinel://` over TLS); unset: `run` and `demo` start one.",
    )
    redis_password: SecretStr | None = Field(
        None, description="Password of Redis, where it does not stand in `REDIS_URL`."
    )
    redis_sentinel_password: SecretStr | None = Field(
        None, description="Password of the sentinels, if they have one."
    )
    redis_ca_file: CaFile | None = Field(
        None, description="Certificates (PEM) that vouch for Redis; unset: the machine's own."
    )
    broker_url: str | None = Field(
        None,
        description="`amqp://` or `amqps://` address of RabbitMQ for the wake-ups, several nodes separated by `;` (needs the extra `rabbitmq`); unset: they go through Redis.",
    )
    broker_ca_file: CaFile | None = Field(
        None, description="Certificates (PEM) that vouch for RabbitMQ; unset: the machine's own."
    )
    data_dir: Path = Field(
        Path(".imagebot"),
        description="Folder of the embedded Redis, the demo's files, and spans that the Collector does not have yet.",
    )
    job_ttl_days: int = Field(30, ge=1, le=3650, description="Days a finished job stays in the history.")
    blobs_url: str | None = Field(
        None,
        description="Where pictures are kept that came in a provider's answer: `file:/folder`, which all processes must see, or `s3://bucket/prefix`; unset: `blobs` in `DATA_DIR`.",
    )
    blobs_max_bytes: int = Field(
        5_000_000_000, ge=10_000_000, description="Bytes kept there at most; the oldest delivered go first."
    )
    blobs_days: int = Field(7, ge=1, description="Days they are kept at most.")
    s3_endpoint: Address | None = Field(None, description="Address of that storage; unset: AWS's own.")
    s3_region: str = Field("us-east-1", description="Its region.")
    s3_access_key: SecretStr | None = Field(
        None, description="Key id for it; unset: as AWS's own tools find one."
    )
    s3_secret_key: SecretStr | None = Field(None, description="The secret of that key.")

    # Providers
    proxy_url: ProxyAddress | None = Field(
        None,
        description="Proxy on the way to Telegram and the providers: `http://` or `socks5://`, with user and password where it wants them; it resolves names.",
    )
    models_file: Path | None = Field(
        None, description="A catalog of models in place of the shipped `src/providers/models.toml`."
    )
    text_api_key: SecretStr | None = Field(
        None, description="Key of an OpenAI-compatible server that helps with words."
    )
    text_base_url: Address = Field("https://api.openai.com/v1", description="Address of that server's API.")
    text_model: str | None = Field(
        None, description="Model there that improves descriptions when asked to; unset: that is not offered."
    )
    speech_model: str | None = Field(
        None, description="Model there that writes down voice messages; unset: they are not understood."
    )
    provider: str = Field(
        "auto", description="Provider of new jobs, by its name; `auto`: the first that has a key."
    )
    failover: bool = Field(
        True,
        description="When a provider fails, another that has a key makes the picture (never after a refusal).",
    )
    provider_result_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="More hosts results may be fetched from, separated by commas: `files.example.com`, `.example.com` (with subdomains), or an origin such as `https://files.example.com:8443`.",
    )
    allow_private_hosts: bool = Field(
        False,
        description="Let results come from private addresses and over http: a provider on your own network.",
    )
    poll_interval: float | None = Field(
        None,
        gt=0,
        le=60,
        description="Fixed seconds between polls of a generation; unset: learned from past ones.",
    )
    image_max_bytes: int = Field(50_000_000, ge=100_000, description="Largest picture fetched, in bytes.")

    # Limits
    rate_limit: int = Field(10, ge=1, description="Requests one person may make in a window.")
    rate_window: int = Field(60, ge=1, description="That window, in seconds.")
    max_active_per_user: int = Field(12, ge=1, description="One person's jobs waiting and running at once.")
    max_waiting: int = Field(
        1000, ge=1, description="Jobs waiting at once; beyond, new ones are refused politely."
    )
    spend_cap_day: DayCap = Field(
        None,
        description="The most that all pictures of a day (UTC) may cost together: `20 USD` (then only models whose price is known can be used) or `500 pictures`; unset: no limit.",
    )
    spend_cap_person_day: DayCap = Field(
        None, description="The same for one person's pictures; not for people of the tier `unlimited`."
    )
    spend_cap_then: Literal["stop", "cheaper"] = Field(
        "stop",
        description="When a picture would pass a cap: `stop` refuses it until the next day, `cheaper` lets the next cheaper model make it that still fits.",
    )
    star_packs: Packs = Field(
        (),
        description="Pictures that people can buy, as Telegram Stars = pictures: `50=10,200=50`; with neither this nor `STAR_MONTHLY` all pictures are free.",
    )
    star_monthly: OnePack = Field(
        None, description="The same by a subscription, each month (30 days): `300=100`; unset: there is none."
    )
    free_pictures_day: int = Field(
        3,
        ge=0,
        description="Pictures a day (UTC) that each person has for free, where pictures are sold; the tier `unlimited` pays nothing.",
    )
    blocked_words_file: WordsFile | None = Field(
        None,
        description="Words that are not drawn: a word or phrase a line, `word*` for all that begin so; unset: only the providers' filters refuse.",
    )
    busy_from: int = Field(
        10,
        ge=1,
        description="Jobs before a person's own from which they are offered a faster model, or a word when it is done.",
    )
    telegram_rate: float = Field(30.0, gt=0, description="Bot API calls a second, all chats together.")

    # Times
    job_deadline: int = Field(
        600,
        ge=10,
        le=86_400,
        description="Seconds from asking in which a picture must be made; what is made is shown, however late.",
    )
    lease: float = Field(15.0, ge=1, le=300, description="Seconds after which a silent step is taken over.")
    progress_interval: float = Field(
        3.0, ge=1, description="Least seconds between two changes of a placeholder."
    )
    submit_unknown: Literal["retry", "fail"] = Field(
        "retry",
        description="When it is unknown whether the provider took a job: `retry` once (may be paid twice) or `fail` openly.",
    )

    # The api: status page and REST, each closed until it has its secret
    status_password: SecretStr | None = Field(
        None, description="Password of the status page, 8 characters or more; unset: the page is closed."
    )
    api_keys: SecretStr | None = Field(
        None,
        description="Who may ask for pictures over REST: `name:key,name:key`, a key of 16 characters or more; unset: nobody.",
    )
    api_docs: bool = Field(
        False, description="Show the REST API's description at `/docs` (loads scripts from a CDN)."
    )

    # Telemetry and logs (addresses and sampling: the standard OTEL_* variables)
    heartbeat_url: SecretStr | None = Field(
        None,
        description="Address that is called each minute while there is no problem, so that an alarm elsewhere rings when it is not.",
    )
    jaeger_ui_url: str | None = Field(
        None, description="Address of Jaeger's pages, for links in admin notes."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto`: readable in a terminal, JSON elsewhere."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, then the file ENV_FILE (`.env`; empty: none), then the files of SECRETS_DIR."""
        named = _env_file()
        there = named is not None and (Path(named).is_file() or Path(named).is_fifo())
        if os.environ.get("ENV_FILE") and not there:
            raise SettingsError("ENV_FILE: there is no such file")
        # Only where there is one: even without a file this source goes through all fields.
        files = [DotEnvSettingsSource(settings_cls, env_file=named)] if there else []
        sources = (init_settings, env_settings, *files)
        # One field asked for: a source that reads all takes as long as all the rest of a start.
        where = cls.model_fields["secrets_dir"]
        said = (source.get_field_value(where, "secrets_dir")[0] for source in (env_settings, *files))
        given = init_settings().get("secrets_dir")
        folder = Path(given or next(filter(None, said), None) or where.default)
        secrets = SecretsSettingsSource(settings_cls, folder)
        return (*sources, secrets) if folder.is_dir() else sources

    @field_validator("admin_ids", mode="before")
    @classmethod
    def _ids(cls, value: Any) -> Any:
        if isinstance(value, str):
            parts = [p.strip() for p in value.split(",") if p.strip()]
            if not all(p.isdigit() for p in parts):
                raise ValueError("expected numbers separated by commas, such as 1111,2222")
            return tuple(int(p) for p in parts)
        return value

    @field_validator("provider_result_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        hosts = tuple(p.strip().lower().rstrip("/") for p in value.split(",") if p.strip())
        for host in hosts:
            parts = urlsplit(host if "://" in host else f"https://{host}")
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.username:
                raise ValueError(
                    "expected hosts such as files.example.com, .example.com or https://host:8443"
                )
        return hosts

    @field_validator("*")
    @classmethod
    def _sendable(cls, value: Any, info: ValidationInfo) -> Any:
        """Keys go into headers. One that was copied often has a line break at its end, or a look-alike letter; one of
        blanks is none."""
        if not isinstance(value, SecretStr) or not str(info.field_name).endswith(("_key", "_token")):
            return value
        key = value.get_secret_value().strip()
        if not re.fullmatch(r"[ -~]*", key):
            raise ValueError("has a line break or a letter that no key has: copy it again")
        return SecretStr(key) if key else None

    @field_validator("telegram_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("expected the token as @BotFather gave it, such as 123456789:AbCd…")
        return value

    @field_validator("heartbeat_url")
    @classmethod
    def _heartbeat(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(_address(value.get_secret_value()))

    @field_validator("webhook_secret")
    @classmethod
    def _secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value.get_secret_value()):
            raise ValueError("expected 1-256 characters of A-Z a-z 0-9 _ -")
        return value

    @field_validator("status_password")
    @classmethod
    def _password(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 8:
            raise ValueError("expected 8 characters or more; make one with `openssl rand -base64 12`")
        return value

    @field_validator("api_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        for pair in _pairs(value):
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}:[!-+\--~]{16,256}", pair):
                raise ValueError(
                    "expected name:key pairs separated by commas, names of a-z 0-9 _ -, keys of 16 characters "
                    "or more; make one with `openssl rand -hex 24`"
                )
        return value

    @field_validator("blobs_url")
    @classmethod
    def _blobs(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"file:/.+|s3://[^/]+(/.*)?", value):
            raise ValueError("expected file:/a/folder or s3://bucket/prefix")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str | None) -> str | None:
        for url in value.split(";") if value else ():
            parts = urlsplit(url)
            if parts.scheme not in {"amqp", "amqps"} or not host_in(parts):
                raise ValueError("expected an address such as amqp://user:password@host:5672/%2f")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _https(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if not parts.hostname or (parts.scheme != "https" and not _loopback(parts.hostname)):
                raise ValueError("expected a public https:// address")
            return value.rstrip("/")
        return value

    @field_validator("mini_app_url")
    @classmethod
    def _page(cls, value: str | None) -> str | None:
        if value is not None and not (urlsplit(value).scheme == "https" and urlsplit(value).hostname):
            raise ValueError("expected a public https:// address")
        return value

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if self.webhook_url and not self.webhook_secret:
            raise ValueError(
                "WEBHOOK_SECRET: is needed with WEBHOOK_URL; make one with `openssl rand -hex 32`"
            )
        if self.sells and not self.admin_ids:
            raise ValueError(
                "ADMIN_IDS: is needed with STAR_PACKS or STAR_MONTHLY: admins refund, and get what people write to /paysupport"
            )
        known = provider_clients()
        if self.provider not in ("auto", *known):
            raise ValueError(f"PROVIDER: expected auto or one of {', '.join(known)}")
        if self.provider != "auto" and self.provider not in self.providers:
            raise ValueError(f"{key_of(self.provider)}: is needed with PROVIDER={self.provider}")
        return self

    @property
    def sells(self) -> bool:
        """Whether pictures are sold."""
        return bool(self.star_packs or self.star_monthly)

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers that have a key, the one for new jobs first."""
        keyed = [n for n in provider_clients() if getattr(self, key_of(n).lower(), None) is not None]
        if self.provider in keyed:
            keyed.remove(self.provider)
            keyed.insert(0, self.provider)
        return tuple(keyed)

    @property
    def provider_addresses(self) -> tuple[str, ...]:
        """The addresses of all providers, which their settings name, and of the server that helps with words."""
        fields = (name for client in provider_clients().values() for name in client.settings.model_fields)
        found = (
            str(getattr(self, name))
            for name in fields
            if name.endswith("_url") and not name.endswith("_proxy_url") and getattr(self, name)
        )
        return *found, self.text_base_url

    def way(self, client: str) -> Way:
        """The way to a provider, or to `telegram`."""
        found = getattr(self, f"{client}_proxy_url", None) or self.proxy_url
        proxy = found.get_secret_value() if found else DIRECT
        return Way(None if proxy == DIRECT else proxy, getattr(self, f"{client}_ca_file", None))

    @property
    def mini_app(self) -> str | None:
        """Where the Mini App is, which Telegram opens over https only."""
        of_api = self.webhook_url or ""
        return self.mini_app_url or (f"{of_api}/app" if of_api.startswith("https:") else None)

    @property
    def api_clients(self) -> dict[str, str]:
        """The key of each client of the REST API, by the client's name."""
        return dict(pair.split(":", 1) for pair in _pairs(self.api_keys))

    def secrets(self) -> tuple[str, ...]:
        """Every secret value in force, for the scrubbers of logs and spans."""
        found = [v.get_secret_value() for v in self.__dict__.values() if isinstance(v, SecretStr)]
        found += self.api_clients.values()
        found += passwords_in(self.redis_url) | passwords_in(self.broker_url)
        proxies = (v for name, v in self.__dict__.items() if v and name.endswith("proxy_url"))
        found += (word for proxy in proxies for word in passwords_in(proxy.get_secret_value()))
        return tuple(found)


def _pairs(keys: SecretStr | None) -> list[str]:
    return [pair.strip() for pair in keys.get_secret_value().split(",") if pair.strip()] if keys else []


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


PLUGINS = "imagebot.providers"
"""The entry point group by which an installed package offers a provider's client."""


@functools.cache
def provider_clients() -> dict[str, Any]:
    """The clients of the image providers by name, the preferred first: each module of `src.providers` that has a
    `PROVIDER`, and what installed packages offer.

    Raises:
        SettingsError: a package's cannot be loaded, or has the name of another.
    """
    package = importlib.import_module("src.providers")
    modules = (
        importlib.import_module(f"src.providers.{m.name}") for m in pkgutil.iter_modules(package.__path__)
    )
    clients = [module.PROVIDER for module in modules if hasattr(module, "PROVIDER")]
    for point in importlib.metadata.entry_points(group=PLUGINS):
        try:
            clients.append(client := point.load())
            # They are read before there is a client.
            wanted = {f"{client.name}_{of}" for of in ("model", "concurrency", "rate")}
            if lacks := sorted(wanted - client.settings.model_fields.keys()):
                raise TypeError(f"its settings lack {', '.join(lacks)}")
        except Exception as error:
            raise SettingsError(
                f"The provider {point.name} ({point.value}) cannot be loaded: {error!r}"
            ) from error
    found: dict[str, Any] = {}
    for client in sorted(clients, key=lambda client: getattr(client, "rank", 100)):
        if client.name in found:
            raise SettingsError(f"Two packages offer a provider {client.name}: uninstall one")
        found[client.name] = client
    return found


def key_of(provider: str) -> str:
    """The variable that holds a provider's key, or what else it `needs`; without it the provider is not used."""
    client = provider_clients().get(provider)
    return str(getattr(client, "needs", f"{provider}_api_key")).upper()


@functools.cache
def settings_class() -> type[Settings]:
    """The settings with those of every provider."""
    clients = provider_clients().values()
    routes: Any = {
        f"{client.name}_{name}": said
        for client in clients
        for name, said in _OF_ROUTE.items()
        if f"{client.name}_{name}" not in client.settings.model_fields
    }
    parts = (client.settings for client in clients)
    made: type[Settings] = create_model("Settings", __base__=(Settings, *parts), **routes)
    return made


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: naming each wrong variable and what was expected of it, never its value.
    """
    try:
        return settings_class()(**overrides)
    except ValidationError as error:
        raise SettingsError(_wrong(error)) from None
    except (OSError, UnicodeDecodeError, UnreadableSource) as error:
        if not isinstance(error.__cause__ or error, (OSError, UnicodeDecodeError)):
            # The library names the field and the source, not the value.
            raise SettingsError(f"{error}: expected JSON") from None
        # The files are read whole; pydantic names none.
        raise SettingsError(
            f"{_env_file() or 'The environment'} or a file of SECRETS_DIR cannot be read as text: "
            "check ENV_FILE, SECRETS_DIR and who may read their files, and save them as UTF-8"
        ) from None


def load_redis_url() -> str | None:
    """REDIS_URL of the environment alone, for what needs no other setting to be right.

    Raises:
        SettingsError: it is no address of a Redis.
    """
    try:
        return TypeAdapter(RedisAddress | None).validate_python(os.environ.get("REDIS_URL") or None)
    except ValidationError as error:
        raise SettingsError(_wrong(error, "REDIS_URL")) from None


# A bound of a number: how the table shows it, and what is said of what lies beyond.
_BOUNDS = {"ge": ("≥", "{} or more"), "gt": (">", "more than {}"), "le": ("≤", "{} or less")}


def _wrong(error: ValidationError, of: str = "") -> str:
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        message = item["msg"].removeprefix("Value error, ")
        for name, bound in item.get("ctx", {}).items():
            if name in _BOUNDS:
                message = f"expected {_BOUNDS[name][1].format(str(bound).removesuffix('.0'))}"
        name = of or ".".join(str(part) for part in item["loc"]).upper()
        lines.append(f"{name}: {message}" if name else message)
    return "Settings that need mending:\n  " + "\n  ".join(lines)


def _env_file() -> str | None:
    return os.environ.get("ENV_FILE", ".env") or None


@functools.cache
def get_settings() -> Settings:
    """The settings of this process, read at the first call."""
    return load_settings()


def table() -> str:
    """The README's table of settings, in Markdown."""
    rows = ["| variable | default, bounds | what it is |", "|---|---|---|"]
    fields = dict(Settings.model_fields)
    at = list(fields).index("provider") + 1
    theirs = [field for c in provider_clients().values() for field in c.settings.model_fields.items()]
    theirs += [(f"<provider>_{name}", info) for name, (_, info) in _OF_ROUTE.items()]
    for name, info in [*list(fields.items())[:at], *theirs, *list(fields.items())[at:]]:
        default = info.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        shown = [] if default is None or default == () else [f"`{default}`"]
        for bound in info.metadata:
            shown += (f"{sign} {getattr(bound, n)}" for n, (sign, _) in _BOUNDS.items() if hasattr(bound, n))
        rows.append(f"| `{name.upper()}` | {', '.join(shown)} | {info.description} |")
    return "\n".join(rows)
