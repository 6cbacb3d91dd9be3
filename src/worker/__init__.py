"""The Dramatiq process: its broker, what opens and closes with it, the rate-limit middleware, the watchdog."""
