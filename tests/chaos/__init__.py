"""Faults put into the whole running system, and what must hold all the same."""
