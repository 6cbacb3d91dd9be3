"""All parts on one machine: the demo, the supervisor, a Redis of its own."""
