"""The bot's conversations, one a file; each handler stands under its filter."""
