"""``notify test``: does an alarm reach somebody? Sends at once, past the queue."""

import click

from agent.cli.command import Invocation, group, now


@group("notify")
def notify() -> None:
    """Where alarms go: webhook, mail, Apprise, heartbeat."""


@notify.command("test")
def test(invocation: Invocation) -> int:
    """Send a test message everywhere that [notify] names. Exit code 1 if one of them doesn't take it."""
    from agent.notify import notifier

    found = notifier.test(invocation.settings.notify, now())
    if not found:
        raise click.UsageError("[notify] names nothing: set notify.webhook_url, or smtp_host, mail_from and mail_to")
    body = {"channels": [{"name": name, "delivered": not why, "detail": why} for name, why in found.items()]}
    lines = [f"{'fail' if why else 'ok':<5} {name:<10} {why or 'delivered'}" for name, why in found.items()]
    invocation.answer("notify_test", body, "\n".join(lines))
    return int(any(found.values()))
