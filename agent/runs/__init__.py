"""What a reconcile and an import have in common: the frame of a run, its report, a stored plan's life, the brakes.

Knows neither how Okta and the directory are read nor what is done about a difference (agent.reconcile, agent.imports).
"""
