"""An alarm reaches a webhook receiver and a mail server from a running daemon within 5 s, once, over a kill and a restart."""

from datetime import UTC, datetime
from pathlib import Path

from agent.settings import DatabaseSettings
from agent.store import alarms
from agent.store.engine import Store
from support.listeners import MailServer, WebhookReceiver
from support.processes import Daemon, database

#: Seconds that an alarm may take.
_SOON = 30.0


def test_once_within_seconds_over_a_kill_and_a_restart(tmp_path: Path) -> None:
    with WebhookReceiver() as hook, MailServer() as mail:
        env = {
            "OPSHELM_NOTIFY__WEBHOOK_URL": f"{hook.url}/hook",
            "OPSHELM_NOTIFY__SMTP_HOST": "127.0.0.1",
            "OPSHELM_NOTIFY__SMTP_PORT": str(mail.port),
            "OPSHELM_NOTIFY__SMTP_TLS": "none",
            "OPSHELM_NOTIFY__MAIL_FROM": "agent@example.com",
            "OPSHELM_NOTIFY__MAIL_TO": "sre@example.com",
        }
        database(tmp_path)
        store = Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/opshelm-agent.db"))

        def happens(subject: str) -> None:
            store.write(lambda conn: alarms.raise_alarm(conn, "held", subject, "waits", datetime.now(UTC)))

        try:
            with Daemon(tmp_path, env) as daemon:
                happens("while it runs")
                assert hook.wait(1, _SOON)
                assert mail.wait(1, _SOON)
                daemon.process.kill()
                daemon.process.wait()
            happens("while nothing runs")
            with Daemon(tmp_path, env):
                assert hook.wait(2, _SOON)
                assert mail.wait(2, _SOON)
                happens("at last")
                assert hook.wait(3, _SOON)
                assert mail.wait(3, _SOON)
        finally:
            store.close()
        subjects = [one.document["metadata"]["event_payload"]["subject"] for one in hook.got]
    assert subjects == ["while it runs", "while nothing runs", "at last"]
    assert len(mail.got) == 3
