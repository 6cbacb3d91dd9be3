"""What Telegram is sent, and how fast: the client, its throttle, messages, pictures and words."""
