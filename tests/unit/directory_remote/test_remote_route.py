"""The way to the remote: which proxy, and for whom none."""

import pytest

from agent.directory.remote.route import route
from agent.model.errors import ConfigError
from agent.settings import DirectorySettings
from agent.settings.proxy import proxy_for

PROXY = "http://proxy.example.com:3128"


@pytest.fixture(autouse=True)
def _no_proxies_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("name", "value", "url", "proxy"),
    [
        ("HTTPS_PROXY", PROXY, "https://scim.example.com/v2", PROXY),
        ("https_proxy", "proxy.example.com:3128", "https://scim.example.com/v2", PROXY),
        ("ALL_PROXY", PROXY, "https://scim.example.com/v2", PROXY),
        ("HTTP_PROXY", PROXY, "https://scim.example.com/v2", None),
        ("ALL_PROXY", PROXY, "http://127.0.0.1:8080/v2", None),
        ("ALL_PROXY", PROXY, "http://[::1]:8080/v2", None),
        ("ALL_PROXY", PROXY, "http://localhost:8080/v2", None),
    ],
)
def test_the_environment_s_proxy_is_taken_and_never_to_this_machine(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, url: str, proxy: str | None
) -> None:
    monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("exempt", "goes_around"),
    [
        ("scim.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("*", True),
        ("other.example.org, SCIM.example.com", True),
        ("scim.example.com:443", True),
        ("https://scim.example.com", True),
        ("scim.example.com:8443", False),
        ("ample.com", False),
        ("", False),
    ],
)
def test_who_is_named_in_no_proxy_is_asked_straight(
    monkeypatch: pytest.MonkeyPatch, exempt: str, goes_around: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (proxy_for("https://scim.example.com/v2") is None) is goes_around


@pytest.mark.parametrize(
    "proxy", ["socks5://u:proxy-password@h:1", "ftp://u:proxy-password@h", "http://u:proxy-password@h:x"]
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    settings = DirectorySettings(backend="scim", base_url="https://scim.example.com/v2", api_key="k")
    with pytest.raises(ConfigError, match=r"directory\.base_url: the proxy .* can't be used") as caught:
        route(settings).close()
    assert "proxy-password" not in f"{caught.value!r} {caught.value} {caught.value.__cause__!r}"
