"""The wire itself: time-outs, TLS, proxy, redirects, and the SDK's habits that are switched off."""

import signal
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from json import JSONDecodeError

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from okta.request_executor import RequestExecutor

from agent.model.errors import ConfigError, OktaRejected, OktaUnreachable
from support.scripted import APP, TOKEN, Say, Scripted, okta_error

APP_PATH = f"/api/v1/apps/{APP}"
APP_BODY = {"id": APP, "status": "ACTIVE"}


def test_a_silent_server_costs_one_read_timeout_a_try(server, connect, waits):
    server.say(APP_PATH, Say(delay=None), Say(delay=None), Say(body=APP_BODY))
    org = connect(read_timeout=timedelta(seconds=0.2))
    assert org.app().id == APP
    assert len(waits) == 2


def test_a_write_that_timed_out_may_have_been_done(server, connect):
    server.say("/api/v1/users", Say(delay=None))
    with pytest.raises(OktaUnreachable) as caught:
        connect(read_timeout=timedelta(seconds=0.2)).create_user({}, activate=False)
    assert caught.value.maybe_done
    assert "Timeout" in caught.value.detail


def test_a_server_that_is_down_is_tried_and_then_named_unreachable(connect, waits):
    gone = Scripted()
    gone.close()
    with pytest.raises(OktaUnreachable, match=r"connection refused.*Tried 3 times"):
        connect(org_url=gone.url).app()
    assert len(waits) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_not_even_on_the_same_host(server, org, status):
    server.say(APP_PATH, Say(status, headers=[("Location", f"{server.url}/elsewhere")]))
    with pytest.raises(OktaRejected, match="not followed"):
        org.app()
    assert len(server.asked) == 1


def test_the_org_id_is_not_taken_from_where_a_redirect_leads(server, org):
    server.say("/.well-known/okta-organization", Say(302, headers=[("Location", "https://elsewhere.example/")]))
    with pytest.raises(OktaRejected, match=r"elsewhere\.example"):
        org.org_id()


def test_cookies_are_not_kept(server, connect):
    org = connect(org_url=f"http://localhost:{server.port}")  # a jar would refuse those of a bare address anyway
    server.rule(APP_PATH, lambda _asked: Say(body=APP_BODY, headers=[("Set-Cookie", "JSESSIONID=1; Path=/")]))
    org.app()
    org.app()
    assert "cookie" not in server.asked[1].headers


# --- where the token may go


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "example.okta.com",
        "http://example.okta.com",
        "http://127.0.0.1.example.com",
        "http://192.168.0.1",
        "ftp://127.0.0.1",
        "https://user:pw@example.okta.com",
        "https://example.okta.com/path",
        "https://example.okta.com?x=1",
        "https://example-admin.okta.com",
        "https://[::1",
        "https://example.okta.com:port",
    ],
)
def test_an_address_that_is_not_an_org_is_refused_before_anything_is_sent(connect, url):
    with pytest.raises(ConfigError, match="okta") as caught:
        connect(org_url=url)
    assert "pw" not in caught.value.detail


@pytest.mark.parametrize("suffix", ["/", " "])
def test_a_trailing_slash_does_not_matter(server, connect, suffix):
    server.say(APP_PATH, Say(body=APP_BODY))
    assert connect(org_url=server.url + suffix).app().id == APP


@pytest.mark.parametrize("token", ["two words", "line\nend", "naïve"])
def test_a_token_that_cannot_be_one_is_refused_unquoted(connect, token):
    with pytest.raises(ConfigError, match=r"okta\.api_token") as caught:
        connect(api_token=token)
    assert token not in caught.value.detail


def test_a_token_with_a_line_end_from_its_file_is_cleaned(server, connect):
    server.say(APP_PATH, Say(body=APP_BODY))
    connect(api_token=f"{TOKEN}\n").app()
    assert server.asked[0].headers["authorization"] == f"SSWS {TOKEN}"


def test_without_credentials_or_app_id_it_says_which_setting_is_missing(connect):
    with pytest.raises(ConfigError, match="api_token"):
        connect(api_token=None)
    with pytest.raises(ConfigError, match=r"okta\.app_id"):
        connect(app_id=None).app()


# --- TLS


def certificate(folder, name: str, *, address="127.0.0.1", expired=False):
    """A self-made certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + (timedelta(days=-1) if expired else timedelta(days=1))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@pytest.fixture
def tls(tmp_path):
    opened = []

    def start(name: str, **kind) -> Scripted:
        server = Scripted(ssl=certificate(tmp_path, name, **kind))
        server.rule(APP_PATH, lambda _asked: Say(body=APP_BODY))
        opened.append(server)
        return server

    yield start
    for server in opened:
        server.close()


def test_https_works_with_the_authority_that_the_settings_name(tls, tmp_path, connect):
    server = tls("good")
    assert connect(org_url=server.url, ca_file=str(tmp_path / "good.pem")).app().id == APP


@pytest.mark.parametrize(
    ("name", "kind", "trusted"),
    [("unknown", {}, False), ("otherhost", {"address": "127.0.0.2"}, True), ("expired", {"expired": True}, True)],
)
def test_a_certificate_not_to_be_trusted_gets_no_token_and_no_second_try(
    tls, tmp_path, connect, waits, name, kind, trusted
):
    server = tls(name, **kind)
    org = connect(org_url=server.url, ca_file=str(tmp_path / f"{name}.pem") if trusted else None)
    with pytest.raises(OktaUnreachable, match="isn't trusted"):
        org.app()
    assert (server.asked, waits) == ([], [])


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_file_that_cannot_be_read_is_a_config_error(tmp_path, connect, content):
    if content:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(ConfigError, match=r"okta\.ca_file"):
        connect(ca_file=str(tmp_path / "ca.pem"))


# --- proxy


def test_calls_go_through_the_proxy_that_the_settings_name(server, connect):
    server.say(f"http://127.0.0.1:9{APP_PATH}", Say(body=APP_BODY))
    assert connect(org_url="http://127.0.0.1:9", proxy=server.url).app().id == APP


def test_calls_go_through_the_proxy_that_the_environment_names(server, connect, monkeypatch):
    """Where the settings name none, as towards a remote OpsHelm. The loopback has none."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", server.url)
    server.rule("okta.example.com:443", lambda _asked: Say(407))
    with pytest.raises(OktaUnreachable, match=r"proxy refused.*HTTPS_PROXY"):
        connect(org_url="https://okta.example.com").app()
    monkeypatch.setenv("NO_PROXY", "*.invalid, okta.invalid")
    with pytest.raises(OktaUnreachable, match="didn't answer"):
        connect(org_url="https://okta.invalid").app()
    server.say(APP_PATH, Say(body={"id": APP, "status": "ACTIVE"}))
    assert connect().app().id == APP


def test_a_proxy_of_another_kind_is_a_config_error(connect, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:proxy-password@proxy.example.com:1080")
    with pytest.raises(ConfigError, match=r"okta\.proxy") as caught:
        connect(org_url="https://okta.example.com").app()
    assert "proxy-password" not in caught.value.detail


def test_a_proxy_that_refuses_shows_no_password(server, connect):
    server.rule(f"http://127.0.0.1:9{APP_PATH}", lambda _asked: Say(407))
    proxy = server.url.replace("//", "//user:proxy-password@")
    with pytest.raises(OktaRejected) as caught:
        connect(org_url="http://127.0.0.1:9", proxy=proxy).app()
    assert "proxy-password" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert "proxy-authorization" in server.asked[0].headers


def test_a_proxy_that_refuses_the_tunnel_shows_no_password(connect):
    proxy = Scripted()
    proxy.rule("127.0.0.1:9", lambda _asked: Say(407))
    try:
        with pytest.raises(OktaUnreachable, match="proxy refused") as caught:
            connect(org_url="https://127.0.0.1:9", proxy=proxy.url.replace("//", "//user:proxy-password@")).app()
        assert "proxy-password" not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert TOKEN not in repr([asked.headers for asked in proxy.asked])
    finally:
        proxy.close()


# --- what the SDK would take from its surroundings


def test_nothing_comes_from_the_sdks_environment_or_files(server, connect, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "okta.yaml").write_text("okta: {client: {requestTimeout: -1, proxy: {host: elsewhere.example}}}")
    for name, value in {
        "OKTA_CLIENT_ORGURL": "https://elsewhere.example",
        "OKTA_CLIENT_TOKEN": "other",
        "OKTA_CLIENT_RATELIMIT_MAXRETRIES": "many",
        "OKTA_CLIENT_REQUESTTIMEOUT": "soon",
        "OKTA_CLIENT_PROXY_HOST": "elsewhere.example",
        "HTTP_PROXY": "http://elsewhere.example",
        "HTTPS_PROXY": "http://elsewhere.example",
    }.items():
        monkeypatch.setenv(name, value)
    server.say(APP_PATH, Say(body=APP_BODY))
    connect().app()
    assert server.asked[0].headers["authorization"] == f"SSWS {TOKEN}"


def test_the_sdks_own_switch_does_not_open_plain_http(connect, monkeypatch):
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")
    with pytest.raises(ConfigError):
        connect(org_url="http://example.okta.com")


def test_the_sdk_does_not_try_again_on_its_own(server, connect, waits):
    """It would retry a 503 without any pause, and sleep out a reset however far."""
    far = [("Date", "Tue, 24 Nov 2026 00:00:00 GMT"), ("X-Rate-Limit-Reset", "4000000000")]
    server.say("/api/v1/users", Say(503, headers=far))
    with pytest.raises(OktaUnreachable):
        connect().create_user({}, activate=False)
    assert len(server.asked) == 1


def test_an_address_of_the_org_inside_a_filter_does_not_confuse_the_sdk(server, org):
    server.say("/api/v1/users", Say(body=[]), Say(body=[]))
    assert org.find_users_by(login=f"{server.url}/x") == []


# --- what the SDK may answer or raise

ODDITIES = {
    "nothing at all": (None, None, None, None),
    "an error alone": (None, None, None, ValueError("x")),
    "AttributeError": AttributeError("'NoneType' object has no attribute 'status'"),
    "JSONDecodeError": JSONDecodeError("x", "", 0),
    "KeyError": KeyError("errorCode"),
    "TimeoutError": TimeoutError(),
}


@pytest.mark.parametrize("oddity", ODDITIES.values(), ids=ODDITIES)
def test_every_oddity_of_the_sdk_is_one_error(org, waits, monkeypatch, oddity):
    async def odd(*_args):
        if isinstance(oddity, Exception):
            raise oddity
        return oddity

    monkeypatch.setattr(RequestExecutor, "fire_request_helper", odd)
    with pytest.raises(OktaUnreachable, match="Tried 3 times"):
        org.app()


@pytest.mark.parametrize("answer", [(None, ValueError("x")), (None, None), AttributeError("x")], ids=repr)
def test_every_oddity_of_signing_is_one_error_and_nothing_was_sent(server, org, monkeypatch, answer):
    async def odd(*_args, **_more):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RequestExecutor, "create_request", odd)
    with pytest.raises(OktaUnreachable) as caught:
        org.create_user({}, activate=False)
    assert not caught.value.maybe_done
    assert server.asked == []


def test_a_429_on_a_body_that_the_sdk_loses_is_still_a_429(server, org, waits):
    """Without Date and reset headers the SDK's own methods lose the answer and raise AttributeError."""
    server.say(APP_PATH, Say(429, okta_error("E0000047")), Say(body=APP_BODY))
    assert org.app().id == APP
    assert len(waits) == 1


def test_an_interrupted_caller_leaves_no_call_behind(server, org):
    def answer(_asked):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return Say(delay=None)

    server.rule(APP_PATH, answer)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            org.app()
    finally:
        signal.signal(signal.SIGINT, before)
    org.close()  # returns only when nothing is under way any more
