"""For operators of a running system: snapshot and thresholds, heartbeats, alerts, backup, doctor."""
