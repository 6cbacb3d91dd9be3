"""The edges we cannot reach, speaking their real protocols: Telegram, the providers, an OTLP receiver.

Used by the demo, the load generator and the tests; nothing of the production system imports it.
"""
