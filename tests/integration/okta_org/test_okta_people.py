"""Direct reads of one person, and what proves that somebody is absent."""

import threading

import pytest
from test_okta_listing import person

from agent.model.errors import AgentError, OktaDenied, OktaRejected, OktaUnreachable, UsageError
from agent.okta_org import UNREADABLE
from support.scripted import APP, Say, links, okta_error

APP_PATH = f"/api/v1/apps/{APP}"
APP_BODY = {"id": APP, "name": "oin_x", "label": "OpsHelm", "status": "ACTIVE", "features": ["PUSH_NEW_USERS"]}
NOT_FOUND = Say(404, okta_error("E0000007", "Not found: Resource not found: 00u1 (AppUser)"))


def okta_id(number: int) -> str:
    return f"00u{number:017d}"


def okta_user(number: int, status: str = "ACTIVE") -> dict:
    return {"id": okta_id(number), "status": status, "profile": {"login": f"p{number}@example.com"}}


def embedded(number: int, status: str = "ACTIVE", **more) -> dict:
    return person(number, id=okta_id(number), _embedded={"user": okta_user(number, status)}, **more)


def test_one_call_brings_the_app_user_and_the_okta_user(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}?expand=user", Say(body=embedded(1, "SUSPENDED")))
    found = org.person(okta_id(1))
    assert found.app_user.external_id == "d1"
    assert found.okta_user.status == "SUSPENDED"


def test_absence_is_a_404_while_the_app_answers(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", NOT_FOUND)
    server.say(APP_PATH, Say(body=APP_BODY))
    server.say(f"/api/v1/users/{okta_id(1)}", Say(body=okta_user(1, "DEPROVISIONED")))
    found = org.person(okta_id(1))
    assert found.app_user is None
    assert found.okta_user.status == "DEPROVISIONED"


def test_somebody_whom_the_org_does_not_know_either(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", NOT_FOUND)
    server.say(APP_PATH, Say(body=APP_BODY))
    server.say(f"/api/v1/users/{okta_id(1)}", Say(404, okta_error("E0000007")))
    found = org.person(okta_id(1))
    assert (found.app_user, found.okta_user) == (None, None)


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (Say(404, okta_error("E0000007", "Not found: (AppInstance)")), OktaRejected),
        (Say(401, okta_error("E0000011")), OktaDenied),
        (Say(403, okta_error("E0000006")), OktaDenied),
    ],
)
def test_without_the_app_a_404_proves_nothing(server, org, app, error):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", NOT_FOUND)
    server.say(APP_PATH, app)
    with pytest.raises(error):
        org.person(okta_id(1))


def test_a_404_of_a_gateway_proves_nothing(server, org):
    server.rule(f"{APP_PATH}/users/{okta_id(1)}", lambda _asked: Say(404, b"<html>", json=False))
    with pytest.raises(OktaUnreachable):
        org.person(okta_id(1))


def test_an_answer_about_somebody_else_is_no_answer(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", Say(body=embedded(2)))
    with pytest.raises(OktaUnreachable, match=f"{okta_id(2)} when asked about {okta_id(1)}"):
        org.person(okta_id(1))


def test_an_unreadable_person_is_there_and_left_alone(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", Say(body=embedded(1, status=[])))
    server.say(f"/api/v1/users/{okta_id(1)}", Say(body=okta_user(1)))
    assert org.person(okta_id(1)).app_user.status == UNREADABLE


def test_an_answer_without_the_embedded_user_is_completed(server, org):
    server.say(f"{APP_PATH}/users/{okta_id(1)}", Say(body=person(1, id=okta_id(1))))
    server.say(f"/api/v1/users/{okta_id(1)}", Say(body=okta_user(1, "LOCKED_OUT")))
    assert org.person(okta_id(1)).okta_user.status == "LOCKED_OUT"


def test_many_people_are_read_at_once_and_come_in_the_order_asked(server, org):
    for number in range(30):
        delay = 0.02 if number % 7 == 0 else 0
        server.say(f"{APP_PATH}/users/{okta_id(number)}", Say(body=embedded(number), delay=delay))
    asked = [okta_id(number) for number in range(30)]
    assert [found.okta_id for found in org.people(asked)] == asked
    assert 1 < server.most_open <= 8


def test_one_failure_among_many_is_an_error(server, org):
    for number in range(5):
        server.say(f"{APP_PATH}/users/{okta_id(number)}", Say(body=embedded(number)))
    server.say(f"{APP_PATH}/users/{okta_id(5)}", Say(403, okta_error("E0000006")))
    with pytest.raises(OktaDenied):
        list(org.people([okta_id(number) for number in range(6)]))


def test_a_user_by_id_or_login(server, org):
    server.say("/api/v1/users/p1%40example.com", Say(body=okta_user(1)))
    server.say("/api/v1/users/p1@example.com", Say(body=okta_user(1)))
    server.say(f"/api/v1/users/{okta_id(9)}", Say(404, okta_error("E0000007")))
    assert org.user("p1@example.com").id == okta_id(1)
    assert org.user(okta_id(9)) is None


@pytest.mark.parametrize("value", ["", "me", "..", ".", "a/b", "a b", "a%b"])
def test_an_id_that_would_reach_another_endpoint_is_refused_before_it_leaves(server, org, value):
    with pytest.raises(UsageError):
        org.person(value)
    assert server.asked == []


def test_people_are_found_whatever_case_and_however_new(server, org):
    """The search minds no case but lags, the filter is current but minds case: both are asked."""
    calls = {"search": [okta_user(1), okta_user(2, "DEPROVISIONED")], "filter": [okta_user(2), okta_user(3)]}

    def answer(asked):
        [kind] = [kind for kind in calls if f"{kind}=" in asked.target]
        return Say(body=calls[kind])

    server.rule("/api/v1/users", answer)
    assert sorted(user.id for user in org.find_users_by(login="P@example.com")) == [okta_id(1), okta_id(2), okta_id(3)]
    assert all("profile.login%20eq" in target for target in server.targets())
    assert [user.id for user in org.find_users_by(email='a"b@example.com')]
    assert "profile.email%20eq%20%22a%5C%22b" in server.targets()[-1]


def test_the_app_is_read_raw_because_the_sdk_refuses_real_ones(server, org):
    """A catalogue app of sign-on mode BROWSER_PLUGIN, which the SDK's model can't hold."""
    body = {**APP_BODY, "signOnMode": "BROWSER_PLUGIN", "settings": {"app": {}, "signOn": None}, "licensing": None}
    server.say(
        APP_PATH, Say(body={**body, "credentials": {"userNameTemplate": {"template": "${source.email}", "suffix": ""}}})
    )
    app = org.app()
    assert (app.sign_on_mode, app.features) == ("BROWSER_PLUGIN", ["PUSH_NEW_USERS"])
    assert app.credentials.user_name_template.template == "${source.email}"


def test_the_org_says_its_id_to_everybody_and_gets_no_token(server, org):
    server.say("/.well-known/okta-organization", Say(body={"id": "00oORG", "_links": {}}))
    assert org.org_id() == "00oORG"
    assert "authorization" not in server.asked[0].headers


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": ""}])
def test_an_org_without_an_id_is_an_error(server, org, body):
    server.say("/.well-known/okta-organization", Say(body=body))
    with pytest.raises(OktaUnreachable):
        org.org_id()


def test_who_the_token_belongs_to_and_the_apps_schema(server, org):
    server.say("/api/v1/users/me", Say(body=okta_user(7)))
    server.say(f"/api/v1/meta/schemas/apps/{APP}/default", Say(body={"definitions": {"base": {}}}))
    assert org.whoami().id == okta_id(7)
    assert org.app_schema() == {"definitions": {"base": {}}}
    assert org.token_scopes() is None


def test_many_threads_may_use_one_org(server, org):
    server.rule(APP_PATH, lambda _asked: Say(body=APP_BODY))
    found = []
    threads = [threading.Thread(target=lambda: found.append(org.app().id)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [APP] * 20
    assert server.connections <= 8


def test_one_session_serves_all_calls(server, org):
    server.rule(APP_PATH, lambda _asked: Say(body=APP_BODY))
    for _ in range(10):
        org.app()
    assert server.connections == 1


def test_after_closing_calls_are_errors_and_closing_again_is_not(server, org):
    org.close()
    org.close()
    with pytest.raises(AgentError, match="closed"):
        org.app()


def test_links_that_name_the_next_page_do_not_matter_to_single_reads(server, org):
    server.say(APP_PATH, Say(body=APP_BODY, headers=links(("next", "http://elsewhere.example/"))))
    assert org.app().id == APP
