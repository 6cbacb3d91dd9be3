"""Looking after a running system: its state at a moment, alerts, heartbeats, backup, doctor."""
