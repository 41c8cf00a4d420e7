"""OpsHelm accounts into Okta: match → plan → apply. The rules are in agent.model.matching; Okta is written to here alone."""

from agent.imports.importer import Importer

__all__ = ["Importer"]
