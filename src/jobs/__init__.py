"""The ledger of jobs: records, states, one Lua script a transition, and the fair line over people."""

from src.jobs import transitions
from src.jobs.answers import Admission, Lines, Standing
from src.jobs.ledger import Ledger
from src.jobs.records import (
    ENDED,
    NO_CHAT,
    PENDING,
    TOOLS,
    How,
    Job,
    Person,
    Request,
    Spec,
    State,
    Wake,
    new_id,
)
from src.jobs.transitions import Limits

__all__ = [
    "ENDED",
    "NO_CHAT",
    "PENDING",
    "TOOLS",
    "Admission",
    "How",
    "Job",
    "Ledger",
    "Limits",
    "Lines",
    "Person",
    "Request",
    "Spec",
    "Standing",
    "State",
    "Wake",
    "new_id",
    "transitions",
]
