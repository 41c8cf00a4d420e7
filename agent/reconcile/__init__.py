"""sweep → compare → plan → guard → apply: the directory follows what Okta says now. Never writes to Okta."""

from agent.reconcile.reconciler import Reconciler
from agent.runs.frame import Outcome, RunReport

__all__ = ["Outcome", "Reconciler", "RunReport"]
