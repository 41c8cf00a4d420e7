"""The ways out: webhook, mail, Apprise, heartbeat. Each sends one thing once or raises Undelivered; none retries or queues.

Calls end with their own time-outs, but not where a server goes on answering a byte now and then: ``Calls`` bounds the whole.

Errors name no address: the path of a webhook or a heartbeat is a secret.
"""

import hashlib
import hmac
import queue
import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate
from functools import partial

import httpx
import msgspec

from agent.notify.message import Message
from agent.settings.sections import NotifySettings

#: Seconds for a connection, and for each answer; for all of a call, and for one that is under way when the process is to end.
_TIMEOUT = 10.0
_WHOLE = 30.0
_LAST = 3.0
_LOOK = 0.2
_TRUST = "signed by an authority of your own? notify.ca_file"


class Undelivered(Exception):
    """Why, without any address."""


class Calls:
    """Each in a thread of its own, which is left to itself when its time is over. One at a time for each way out."""

    def __init__(self, stopping: Callable[[], bool] = lambda: False, whole: float = _WHOLE) -> None:
        self._stopping, self._whole = stopping, whole
        #: Of calls that were left to themselves, or are under way.
        self._threads: dict[str, threading.Thread] = {}

    def run(self, name: str, work: Callable[[], None]) -> None:
        """What ``work`` raises, or Undelivered where it doesn't end."""
        before = self._threads.get(name)
        if before is not None and before.is_alive():
            raise Undelivered("the call before this one has not ended yet")
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        thread = threading.Thread(target=_ending, args=(work, ended), name=f"notify-{name}", daemon=True)
        self._threads[name] = thread
        until = time.monotonic() + self._whole
        thread.start()
        stopping = False
        while (left := until - time.monotonic()) > 0:
            if not stopping and self._stopping():
                stopping, until = True, min(until, time.monotonic() + _LAST)
            try:
                error = ended.get(timeout=min(left, _LOOK))
            except queue.Empty:
                continue
            del self._threads[name]
            if error is not None:
                raise error
            return
        raise Undelivered("it did not end in time")


def _ending(work: Callable[[], None], ended: "queue.SimpleQueue[Exception | None]") -> None:
    try:
        work()
    except Exception as exc:  # noqa: BLE001 - raised again where it is waited for
        ended.put(exc)
    else:
        ended.put(None)


#: Sends a message. The delivery is the same at each try, so that a receiver can tell a second one.
Channel = Callable[[Message, str], None]


def _webhook(settings: NotifySettings, message: Message, delivery: str) -> None:
    """A POST of JSON, signed like Slack signs its own: HMAC-SHA256 over ``timestamp.body``."""
    assert settings.webhook_url is not None
    body, at = msgspec.json.encode(message.slack()), str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "opshelm-okta-agent",
        "X-OpsHelm-Delivery": delivery,
        "X-OpsHelm-Timestamp": at,
    }
    if settings.webhook_secret is not None:
        headers["X-OpsHelm-Signature"] = sign(settings.webhook_secret.get_secret_value(), at, body)
    _ask(settings, settings.webhook_url.get_secret_value(), content=body, headers=headers)


def sign(secret: str, at: str, body: bytes) -> str:
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


def _mail(settings: NotifySettings, message: Message, delivery: str) -> None:
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.headline.split())
    mail["From"], mail["To"] = settings.mail_from, ", ".join(settings.mail_to)
    mail["Date"] = formatdate(message.at.timestamp())
    mail["Message-ID"] = f"<{delivery}@opshelm-okta-agent.invalid>"
    mail.set_content(f"{message.text}\n")
    try:
        with _mail_server(settings) as server:
            if settings.smtp_user and settings.smtp_password:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.send_message(mail)
    except smtplib.SMTPResponseException as exc:
        raise Undelivered(f"the mail server answered {exc.smtp_code}") from exc
    except ssl.SSLCertVerificationError as exc:
        raise Undelivered(f"the mail server's certificate isn't trusted ({exc.verify_message}); {_TRUST}") from exc
    except (OSError, smtplib.SMTPException, ValueError) as exc:
        raise Undelivered(f"no mail: {type(exc).__name__}") from exc


def _mail_server(settings: NotifySettings) -> smtplib.SMTP:
    host, port = settings.smtp_host or "", settings.smtp_port
    if settings.smtp_tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=_trusted(settings))
    server = smtplib.SMTP(host, port, timeout=_TIMEOUT)
    if settings.smtp_tls == "starttls":
        try:
            server.starttls(context=_trusted(settings))
        except BaseException:
            server.close()
            raise
    return server


def _apprise(settings: NotifySettings, message: Message, _delivery: str) -> None:
    """It has no place for the delivery."""
    try:
        import apprise
    except ImportError as exc:
        raise Undelivered("Apprise is not installed: pip install 'opshelm-okta-agent[apprise]'") from exc
    assert settings.apprise_urls is not None
    out = apprise.Apprise()
    if not out.add(settings.apprise_urls.get_secret_value().split()):
        raise Undelivered("Apprise doesn't know one of the addresses")
    if not out.notify(title=message.headline, body=message.text):
        raise Undelivered("Apprise could not deliver it")


def open_channels(settings: NotifySettings) -> dict[str, Channel]:
    """Those that are set, by name."""
    ways = (
        ("webhook", settings.webhook_url, _webhook),
        ("mail", settings.smtp_host, _mail),
        ("apprise", settings.apprise_urls, _apprise),
    )
    return {name: partial(send, settings) for name, is_set, send in ways if is_set}


def beat(settings: NotifySettings, signal: str) -> None:
    """``signal``: "start", "" for success, or an exit code."""
    if settings.heartbeat_url is not None:
        base = settings.heartbeat_url.get_secret_value().rstrip("/")
        _ask(settings, f"{base}/{signal}" if signal else base)


def _trusted(settings: NotifySettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file)


def _ask(settings: NotifySettings, url: str, *, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
    try:
        verify = True if settings.ca_file is None else _trusted(settings)
        answer = httpx.post(url, content=content, headers=headers, timeout=_TIMEOUT, verify=verify)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as exc:
        if "CERTIFICATE_VERIFY_FAILED" in str(exc):
            raise Undelivered(f"the receiver's certificate isn't trusted; {_TRUST}") from exc
        raise Undelivered(f"no answer: {type(exc).__name__}") from exc
    if not answer.is_success:
        raise Undelivered(f"the receiver answered HTTP {answer.status_code}")
