"""The `api` process: Telegram's webhook, providers' callbacks, probes, the status page, REST."""

from src.api.app import make_api, run_api

__all__ = ["make_api", "run_api"]
