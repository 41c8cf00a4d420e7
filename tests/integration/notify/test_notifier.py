"""Alarms and failed runs reach a webhook and a mailbox: in full, signed, once, and in the end also through a bad time."""

import base64
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent.model.errors import DiskFull
from agent.notify.channels import Calls, Undelivered, sign
from agent.notify.notifier import Notifier, test
from agent.settings.sections import NotifySettings
from agent.store import alarms, runs
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.runs import RunEnd, RunRequest
from support import processes
from support.authority import Authority
from support.listeners import MailServer, WebhookReceiver

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET = "a-signing-secret"
test.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def hook() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def webhook(hook: WebhookReceiver) -> NotifySettings:
    return NotifySettings(webhook_url=SecretStr(f"{hook.url}/T0/B0"), webhook_secret=SecretStr(SECRET))


@pytest.fixture
def clock() -> list[datetime]:
    """To be set by the test."""
    return [NOW]


@pytest.fixture
def notifier(store: Store, webhook: NotifySettings, clock: list[datetime]) -> Notifier:
    return Notifier(store, lambda: webhook, lambda: clock[0])


def raised(store: Store, subject: str = "guard") -> int:
    """Its number."""
    detail = "ann@example.com is the last active owner"
    store.write(lambda conn: alarms.raise_alarm(conn, "last_owner", subject, detail, NOW))
    with store.read() as conn:
        return alarms.open_alarms(conn)[-1].id


def ended(store: Store, outcome: str, exit_code: int, *, dry: bool = False) -> None:
    def work(conn: Any) -> None:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="schedule", actor="daemon", dry=dry), NOW)
        runs.finish(conn, run, RunEnd(outcome=outcome, exit_code=exit_code, detail="Okta did not answer page 3."), NOW)

    store.write(work)


def test_an_alarm_arrives_in_full_signed_and_with_the_next_command(
    store: Store, hook: WebhookReceiver, notifier: Notifier
) -> None:
    number = raised(store)
    notifier.tick()
    (got,) = hook.got
    assert got.path == "/T0/B0"
    signature = sign(SECRET, got.headers["X-OpsHelm-Timestamp"], got.body)
    assert got.headers["X-OpsHelm-Signature"] == signature
    assert signature != sign("another", got.headers["X-OpsHelm-Timestamp"], got.body)
    document = got.document
    assert document["text"].splitlines() == [
        "OpsHelm Okta agent: alarm last_owner, about guard",
        "ann@example.com is the last active owner",
        f"Next: opshelm-agent alarms show {number}, then opshelm-agent users list --owners",
    ]
    assert document["metadata"]["event_type"] == "alarm_opened"
    assert document["metadata"]["event_payload"]["code"] == "last_owner"


def test_it_is_told_once_and_its_end_too(store: Store, hook: WebhookReceiver, notifier: Notifier) -> None:
    raised(store)
    for _ in range(3):
        notifier.tick()
    store.write(lambda conn: alarms.clear(conn, "last_owner", "guard", NOW))
    for _ in range(3):
        notifier.tick()
    assert [one.document["metadata"]["event_type"] for one in hook.got] == ["alarm_opened", "alarm_closed"]


def test_of_several_agents_one_tells_it(store: Store, webhook: NotifySettings, hook: WebhookReceiver) -> None:
    for n in range(5):
        raised(store, f"plan {n}")
    agents = [Notifier(store, lambda: webhook, lambda: NOW) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(agent.tick) for agent in agents]:
            done.exception()  # of two that queue the same at once one may have to look again
    for agent in agents:
        agent.tick()
    subjects = [one.document["metadata"]["event_payload"]["subject"] for one in hook.got]
    assert sorted(subjects) == [f"plan {n}" for n in range(5)]


def test_what_is_not_taken_is_tried_again_later_each_time(
    store: Store, hook: WebhookReceiver, notifier: Notifier, clock: list[datetime]
) -> None:
    hook.status = 503
    raised(store)
    tries = []
    for second in range(16):
        clock[0] = NOW + timedelta(seconds=second)
        before = len(hook.got)
        notifier.tick()
        tries += [second] * (len(hook.got) - before)
    assert tries == [0, 2, 6, 14]
    hook.status = 200
    clock[0] = NOW + timedelta(minutes=1)
    notifier.tick()
    notifier.tick()
    assert len(hook.got) == 5
    assert len({one.headers["X-OpsHelm-Delivery"] for one in hook.got}) == 1


def test_after_three_days_it_is_given_up(
    store: Store, hook: WebhookReceiver, notifier: Notifier, clock: list[datetime]
) -> None:
    hook.status = 1  # hangs up
    raised(store)
    for _ in range(2):
        notifier.tick()
        clock[0] += timedelta(days=3, seconds=1)
    hook.status = 200
    notifier.tick()
    assert len(hook.got) == 2


def test_a_dead_agents_claim_lapses(
    store: Store, hook: WebhookReceiver, notifier: Notifier, clock: list[datetime]
) -> None:
    from agent.store import notices

    hook.status = 503
    raised(store)
    notifier.tick()
    clock[0] += timedelta(seconds=5)
    with store.read() as conn:
        (waiting,) = notices.due(conn, ["webhook"], clock[0])
    assert store.write(lambda conn: notices.claim(conn, waiting.id, clock[0]))
    hook.status = 200
    notifier.tick()
    assert len(hook.got) == 1
    clock[0] += notices.CLAIM + timedelta(seconds=1)
    notifier.tick()
    assert len(hook.got) == 2


def test_a_silenced_alarm_is_not_told(store: Store, hook: WebhookReceiver, notifier: Notifier) -> None:
    number = raised(store)
    by = Signature(actor="operator root", source="cli", at=NOW, reason="known")
    store.write(lambda conn: alarms.ack(conn, number, by))
    notifier.tick()
    assert hook.got == []


def test_a_failed_run_is_told_and_a_held_or_dry_one_isn_t(
    store: Store, hook: WebhookReceiver, notifier: Notifier
) -> None:
    ended(store, "incomplete", 1)
    ended(store, "held", 4)
    ended(store, "paused", 1)
    ended(store, "incomplete", 1, dry=True)
    notifier.tick()
    (got,) = hook.got
    run = got.document["metadata"]["event_payload"]["run"]
    assert f"run {run} (sweep) ended as incomplete" in got.document["text"]
    assert "Okta did not answer page 3." in got.document["text"]
    assert f"opshelm-agent runs show {run}" in got.document["text"]


def test_mail_says_the_same_and_one_channel_doesn_t_wait_for_another(
    store: Store, webhook: NotifySettings, hook: WebhookReceiver
) -> None:
    hook.status = 500
    with MailServer() as mail:
        settings = webhook.model_copy(
            update={
                "smtp_host": "127.0.0.1",
                "smtp_port": mail.port,
                "smtp_tls": "none",
                "mail_from": "agent@example.com",
                "mail_to": ("sre@example.com", "iam@example.com"),
            }
        )
        raised(store)
        Notifier(store, lambda: settings, lambda: NOW).tick()
    (envelope,) = mail.got
    assert envelope.rcpt_tos == ["sre@example.com", "iam@example.com"]
    read = message_from_bytes(envelope.content)
    assert read["Subject"] == "OpsHelm Okta agent: alarm last_owner, about guard"
    assert "Next: opshelm-agent alarms show" in str(read.get_payload())


def test_the_heartbeat_tells_start_success_and_exit_code(store: Store, hook: WebhookReceiver) -> None:
    settings = NotifySettings(heartbeat_url=SecretStr(f"{hook.url}/ping/u1"))
    notifier = Notifier(store, lambda: settings)
    for signal in ("start", "", "5"):
        notifier.beat(signal)
    notifier.tick()
    assert [one.path for one in hook.got] == ["/ping/u1/start", "/ping/u1", "/ping/u1/5"]


def test_no_error_names_an_address(store: Store, clock: list[datetime], capsys: pytest.CaptureFixture[str]) -> None:
    settings = NotifySettings(webhook_url=SecretStr("http://127.0.0.1:1/T0KEN"))
    raised(store)
    Notifier(store, lambda: settings, lambda: clock[0]).tick()
    found = test(settings, NOW)
    assert found == {"webhook": "no answer: ConnectError"}
    assert "T0KEN" not in "".join(capsys.readouterr())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise itself
def test_apprise_takes_what_the_extra_knows(hook: WebhookReceiver) -> None:
    settings = NotifySettings(apprise_urls=SecretStr(hook.url.replace("http://", "json://") + "/apprise"))
    assert test(settings, NOW) == {"apprise": ""}
    (got,) = hook.got
    assert "OpsHelm Okta agent: a test from" in got.document["title"]


def test_apprise_s_addresses_are_in_no_log(tmp_path: Path) -> None:
    """Neither of one that it knows, at debug, nor of one that it doesn't."""
    env = {"OPSHELM_LOG__LEVEL": "debug"}
    for address in ("json://S3CRET@127.0.0.1:9/S3CRET", "nothing://S3CRET@127.0.0.1/S3CRET"):
        done = processes.agent("notify", "test", cwd=tmp_path, env=env | {"OPSHELM_NOTIFY__APPRISE_URLS": address})
        assert (done.returncode, "apprise" in done.stdout) == (1, True), done
        assert "S3CRET" not in done.stdout + done.stderr


# Mail over TLS

PASSWORD = "smtp-pass-of-a-test"


def mailed(mail: MailServer, tls: str, **more: Any) -> NotifySettings:
    return NotifySettings(
        smtp_host="127.0.0.1",
        smtp_port=mail.port,
        smtp_tls=tls,
        smtp_user="agent",
        smtp_password=SecretStr(more.pop("password", PASSWORD)),
        mail_from="agent@example.com",
        mail_to=("sre@example.com",),
        **more,
    )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_mail_goes_encrypted_and_signed_in_to_a_server_that_is_trusted(authority: Authority, tls: str) -> None:
    with MailServer(tls, authority.server(), "agent", PASSWORD) as mail:
        found = test(mailed(mail, tls, ca_file=str(authority.file)), NOW)
    assert found == {"mail": ""}
    assert len(mail.got) == 1


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["a stranger's", "another host's", "over"])
def test_a_wrong_certificate_gets_neither_password_nor_mail(
    authority: Authority, tls: str, wrong: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    host, ends = "127.0.0.2" if wrong == "another host's" else "127.0.0.1", timedelta(days=-1 if wrong == "over" else 9)
    trusted = {} if wrong == "a stranger's" else {"ca_file": str(authority.file)}
    with MailServer(tls, authority.server(host=host, ends=ends), "agent", PASSWORD) as mail:
        found = test(mailed(mail, tls, **trusted), NOW)
    assert "certificate isn't trusted" in found["mail"]
    assert mail.got == []
    assert mail.signed_in == []
    assert PASSWORD not in "".join((found["mail"], caplog.text, *capfd.readouterr()))


def test_a_server_without_starttls_gets_neither_password_nor_mail() -> None:
    with MailServer() as mail:
        assert test(mailed(mail, "starttls"), NOW) == {"mail": "no mail: SMTPNotSupportedError"}
    assert (mail.got, mail.signed_in) == ([], [])


def test_a_wrong_password_is_said_by_its_number_alone(
    store: Store, authority: Authority, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "not-the-smtp-password"
    with MailServer("starttls", authority.server(), "agent", PASSWORD) as mail:
        settings = mailed(mail, "starttls", ca_file=str(authority.file), password=wrong)
        assert test(settings, NOW) == {"mail": "the mail server answered 535"}
        raised(store)
        Notifier(store, lambda: settings, lambda: NOW).tick()
    assert mail.got == []
    said = f"{caplog.text}{''.join(capfd.readouterr())}"
    assert not {one for one in (wrong, base64.b64encode(wrong.encode()).decode()) if one in said}


def test_a_webhook_is_trusted_by_the_same_file(authority: Authority) -> None:
    with WebhookReceiver(authority.server()) as encrypted:
        url = SecretStr(encrypted.url)
        assert test(NotifySettings(webhook_url=url, ca_file=str(authority.file)), NOW) == {"webhook": ""}
        assert "isn't trusted" in test(NotifySettings(webhook_url=url), NOW)["webhook"]
    assert len(encrypted.got) == 1


# A full disk


def test_each_channel_is_told_of_a_full_disk_once_and_of_its_end(
    store: Store, notifier: Notifier, hook: WebhookReceiver, clock: list[datetime]
) -> None:
    def ticks(seconds: int) -> list[str]:
        before = len(hook.got)
        for _ in range(seconds):
            notifier.tick()
            clock[0] += timedelta(seconds=1)
        return [one.document["text"].splitlines()[0].partition("alarm ")[2] for one in hook.got[before:]]

    host = socket.gethostname()
    hook.status = 503
    store.full = DiskFull("The disk under the database /var/x.db is full. Make room there.")
    assert ticks(11) == [f"disk_full, about {host}"] * 2  # not taken, so once more
    hook.status = 200
    assert ticks(30) == [f"disk_full, about {host}"]
    assert "/var/x.db" in hook.got[-1].document["text"]
    store.full = None
    assert ticks(30) == []
    store.full = DiskFull("again, before anybody believed that it was over")
    assert ticks(5) == []
    store.full = None
    raised(store)
    assert sorted(ticks(70)) == [f"disk_full, about {host}, is over", "last_owner, about guard"]


def test_a_receiver_that_never_comes_to_an_end_keeps_nobody_waiting() -> None:
    """It answers a byte now and then, so that no time-out of a call is ever met."""
    calls, over = Calls(whole=0.1), threading.Event()
    with pytest.raises(Undelivered, match="in time"):
        calls.run("mail", over.wait)
    with pytest.raises(Undelivered, match="not ended"):
        calls.run("mail", lambda: None)
    calls.run("webhook", lambda: None)
    over.set()


def test_asked_to_stop_a_call_ends_soon() -> None:
    stopping, over = threading.Event(), threading.Event()
    calls = Calls(stopping.is_set, whole=60)
    stopping.set()
    with pytest.raises(Undelivered):
        calls.run("mail", over.wait)
    over.set()


def test_what_a_call_ends_with_is_raised() -> None:
    def refused() -> None:
        raise Undelivered("no")

    with pytest.raises(Undelivered, match="no"):
        Calls().run("mail", refused)
