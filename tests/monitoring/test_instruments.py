"""What the application records is what observability/README.md promises: name, kind and unit."""

from __future__ import annotations

import runpy

import pytest
from contract import promised
from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider

from src.telemetry import metrics as application


def test_the_systems_instruments_are_those_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = {row["name"]: (row["kind"], row["unit"]) for row in promised()}
    monkeypatch.setattr(metrics, "get_meter", MeterProvider(shutdown_on_exit=False).get_meter)
    recorded = {
        instrument.name: ("counter" if isinstance(instrument, Counter) else "histogram", instrument.unit)
        for instrument in runpy.run_path(application.__file__).values()
        if isinstance(instrument, Counter | Histogram)
    }
    assert len(recorded) > 10
    assert {name: contract.get(name) for name in recorded} == recorded
