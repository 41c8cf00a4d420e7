"""The OpsHelm Okta agent: receives Okta's pushes, repairs drift, imports accounts."""

__version__ = "0.1.0"
