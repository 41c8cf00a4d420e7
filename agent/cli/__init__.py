"""The command line: one module per command group. Holds no rules; render.py turns results into text or JSON."""


def main() -> None:
    """Entry point of ``opshelm-agent``."""
    raise SystemExit(2)
