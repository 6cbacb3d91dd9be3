"""The bot: one module a conversation, the inbox of updates, and the process that runs them (`process.py`)."""
