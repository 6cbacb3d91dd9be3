"""The system's own metrics, under the names of observability/README.md.

Recorded through OpenTelemetry's API: without an exporter each call costs next to nothing.
Attributes are few-valued; ids of jobs, people and chats never are.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from opentelemetry import metrics

from observability.dramatiq.messaging import SCHEMA_URL

VERSION = importlib.metadata.version("imagebot")
_meter = metrics.get_meter("imagebot", VERSION, schema_url=SCHEMA_URL)
_SECONDS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600]


def _histogram(name: str, unit: str, text: str, buckets: Sequence[float]) -> metrics.Histogram:
    return _meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=buckets)


jobs = _meter.create_counter("imagebot.jobs", "{job}", "Jobs that ended, by outcome")
job_duration = _histogram("imagebot.job.duration", "s", "From asking to the end of a job", _SECONDS)
wait_duration = _histogram("imagebot.job.wait.duration", "s", "Time in line", _SECONDS)
generation_duration = _histogram(
    "imagebot.generation.duration", "s", "From accepted by the provider to ready", _SECONDS
)
inference_duration = _histogram(
    "gen_ai.client.inference.duration", "s", "The same by its conventional name, failures too", _SECONDS
)
delivery_duration = _histogram("imagebot.delivery.duration", "s", "From ready to shown", _SECONDS)
generation_polls = _histogram(
    "imagebot.generation.polls", "{poll}", "Polls of a generation", [1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 60]
)
limits_refused = _meter.create_counter("imagebot.limits.refused", "{refusal}", "Steps that met a closed gate")
wait_offers = _meter.create_counter(
    "imagebot.wait.offers", "{offer}", "Requests that were offered a choice of how to wait"
)
wait_choices = _meter.create_counter("imagebot.wait.choices", "{choice}", "What was chosen of it")
provider_errors = _meter.create_counter("imagebot.provider.errors", "{error}", "Provider errors by kind")
submit_unknown = _meter.create_counter(
    "imagebot.submit.unknown", "{job}", "Submits whose fate at the provider is unknown"
)
eta_error = _histogram(
    "imagebot.eta.error",
    "1",
    "Estimate of the whole time against the real one, as a share of it",
    [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5],
)


def gate_kind(gate: str) -> str:
    """A gate's name without what is individual in it: `chat:12` is `chat`."""
    kind, _, rest = gate.partition(":")
    return gate if kind == "provider" and rest else kind
