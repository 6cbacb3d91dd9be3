"""Redis: its clients, and calls of Lua scripts."""
