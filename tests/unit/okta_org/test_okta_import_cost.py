import subprocess
import sys

import pytest


def _printed(probe: str) -> str:
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_neither_the_sdk_nor_what_it_brings():
    probe = (
        "import sys, agent.okta_org\n"
        "heavy = {'okta', 'aiohttp', 'jwcrypto', 'Cryptodome', 'pydantic', 'yarl', 'httpx'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    assert _printed(probe) == "[]"


def test_connecting_loads_no_model_of_the_sdk_and_no_cryptography_that_it_does_not_use():
    probe = (
        "import sys, agent.okta_org.sdk\n"
        "heavy = {'okta.models', 'okta.api_client', 'okta.dpop', 'okta.jwt', 'jwcrypto', 'Cryptodome', 'pydash',\n"
        "         'yaml.loader'}\n"
        "print(sorted(heavy & {*sys.modules}))"
    )
    assert _printed(probe) == "[]"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("from okta import ApiClient as it", "okta.api_client"),
        ("from okta import UserApi as it", "okta.api.user_api"),
        ("from okta.api.user_api import UserApi as it", "okta.api.user_api"),
        ("from okta.models import AppUser as it", "okta.models.app_user"),
        ("from okta.oauth import JWT as it", "okta.jwt"),
        ("from yaml import safe_load as it", "yaml"),
    ],
)
def test_the_sdk_is_whole_for_whoever_asks_for_more(asked, found):
    assert _printed(f"import agent.okta_org.sdk\n{asked}\nprint(it.__module__)") == found


def test_a_sweep_of_an_embedded_directory_loads_no_driver_server_or_page():
    probe = (
        "import sys, agent.cli.reconcile, agent.cli.answers, agent.reconcile.reconciler, agent.directory.sql, agent.okta_org.sdk\n"
        "heavy = {'psycopg', 'alembic', 'starlette', 'uvicorn', 'jinja2', 'apscheduler', 'prometheus_client', 'httpx',\n"
        "         'scim2_models', 'joserfc', 'authlib', 'cryptography', 'argon2', 'sqlalchemy.dialects.postgresql'}\n"
        "print(sorted(heavy & {*sys.modules}))"
    )
    assert _printed(probe) == "[]"


def test_the_dashboard_loads_what_signs_in_with_okta_only_for_who_does_so():
    probe = "import sys, agent.dashboard.app\nprint(sorted({'joserfc', 'authlib', 'cryptography'} & {*sys.modules}))"
    assert _printed(probe) == "[]"
