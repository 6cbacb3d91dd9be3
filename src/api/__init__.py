"""The `api` process (`app.py`): Telegram's webhook, providers' callbacks, probes, the status page, REST."""
