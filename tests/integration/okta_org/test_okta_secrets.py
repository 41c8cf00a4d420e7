"""No token, key or hook secret in any log, error or repr, with everything logged at DEBUG."""

import logging
import logging.config
import traceback

import pytest
from test_okta_credentials import TOKEN_PATH, granted, oauth, pem  # noqa: F401 - fixtures

from agent.model.errors import OktaError
from support.scripted import APP, TOKEN, Say, okta_error

#: Not written where it is used: a traceback shows source lines.
HOOK_SECRET = "hook-secret-value"
APP_PATH = f"/api/v1/apps/{APP}"


@pytest.fixture
def heard(caplog):
    caplog.set_level(logging.DEBUG)
    return caplog


def told(heard, *errors: BaseException) -> str:
    lines = [record.getMessage() + str(vars(record)) for record in heard.records]
    for error in errors:
        lines += traceback.format_exception(error)
        lines += [repr(error), str(vars(error))]
    return "\n".join(lines)


FAULTS = {
    "fine": Say(body={"id": APP}),
    "revoked": Say(401, okta_error("E0000011")),
    "throttled": Say(429),
    "broken": Say(500, b"{"),
    "cut": Say(200, b"[]", cut_after=1),
    "hung up": Say(hang_up=True),
    "redirect": Say(302, headers=[("Location", "http://elsewhere.example")]),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_api_token_shows_nowhere(server, connect, heard, fault):
    server.rule(APP_PATH, lambda _asked: fault)
    org = connect()
    errors = []
    try:
        org.app()
    except OktaError as error:
        errors.append(error)
    assert server.asked[0].headers["authorization"].endswith(TOKEN)
    assert TOKEN not in told(heard, *errors)


def test_oauth_tokens_and_assertions_show_nowhere(server, connect, heard, oauth):  # noqa: F811
    server.rule(TOKEN_PATH, lambda _asked: granted("00oauth-access-token"))
    server.say(APP_PATH, Say(401, okta_error("E0000011")), Say(403, okta_error("E0000006")))
    with pytest.raises(OktaError) as caught:
        connect(**oauth).app()
    said = told(heard, caught.value)
    assertion = server.asked[0].body.decode()
    assert "00oauth-access-token" not in said
    assert assertion[-60:] not in said
    assert "PRIVATE KEY" not in said


def test_a_hooks_secret_shows_nowhere(server, org, heard):
    server.say("/api/v1/eventHooks", Say(hang_up=True))
    with pytest.raises(OktaError) as caught:
        org.create_event_hook("https://x.example", HOOK_SECRET, ["a"], "n")
    assert HOOK_SECRET.encode() in server.asked[0].body
    assert HOOK_SECRET not in told(heard, caught.value)


def test_the_sdks_log_stays_off_when_somebody_configures_logging_later(server, org, heard):
    """Python's dictConfig switches every logger on that it isn't told about; web servers call it at their start."""
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "incremental": False})
    heard.set_level(logging.DEBUG)
    server.say(APP_PATH, Say(403, okta_error("E0000006")))
    with pytest.raises(OktaError):
        org.app()
    logging.getLogger("okta-sdk-python").critical("the SDK speaks")
    assert "okta-sdk-python" not in {record.name for record in heard.records}


def test_settings_and_clients_do_not_show_the_token(org):
    assert TOKEN not in repr(vars(org))
