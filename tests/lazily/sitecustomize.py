"""On PYTHONPATH a new interpreter heeds `tests/lazy_types.py`."""

import tests.lazy_types  # noqa: F401
