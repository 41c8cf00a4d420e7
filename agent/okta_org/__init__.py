"""Everything that talks to Okta's Management API. Importing it loads neither okta nor aiohttp; connecting does."""

from agent.model.okta import UNREADABLE
from agent.okta_org.limits import RateBudget
from agent.okta_org.org import OktaOrg

__all__ = ["UNREADABLE", "OktaOrg", "RateBudget"]
