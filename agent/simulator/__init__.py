"""An Okta org in a box: a real HTTP server that Okta's SDK can't tell from Okta, with a provisioning engine.

It imports nothing of the agent. ``SimulatedOrg.start(...)`` serves one in a thread; ``serve`` in the foreground.
"""

from agent.simulator.server import SimulatedOrg, environment, serve
from agent.simulator.state import APP_ID, TOKEN, OrgSettings

__all__ = ["APP_ID", "TOKEN", "OrgSettings", "SimulatedOrg", "environment", "serve"]
