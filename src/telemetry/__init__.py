"""The spans of a job and the system's own metrics."""
