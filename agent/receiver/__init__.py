"""What Okta pushes to: a SCIM 2.0 service provider as one small ASGI app. Decides no rule about accounts (agent.directory)."""
