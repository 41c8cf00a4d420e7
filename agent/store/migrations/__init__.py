"""Alembic's folder: env.py runs what versions/ holds, on the connection that agent.store.schema passes in."""
