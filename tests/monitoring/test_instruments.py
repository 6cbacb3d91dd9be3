"""What the application records is what observability/README.md promises: name, kind and unit."""

from __future__ import annotations

import re
import runpy

import pytest
from contract import OBSERVABILITY
from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider

from src import metrics as application

_ROW = re.compile(r"^\| `([^`]+)` \| `[^`]+` \| (\w+) \| `([^`]+)` \|", re.M)


def test_the_systems_instruments_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    promised = {
        name: (kind, unit) for name, kind, unit in _ROW.findall((OBSERVABILITY / "README.md").read_text())
    }
    monkeypatch.setattr(metrics, "get_meter", MeterProvider(shutdown_on_exit=False).get_meter)
    recorded = {
        instrument.name: ("counter" if isinstance(instrument, Counter) else "histogram", instrument.unit)
        for instrument in runpy.run_path(application.__file__).values()
        if isinstance(instrument, Counter | Histogram)
    }
    assert len(recorded) > 10
    assert {name: promised.get(name) for name in recorded} == recorded
