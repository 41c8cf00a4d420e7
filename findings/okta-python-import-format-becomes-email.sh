#!/usr/bin/env bash
# What surprised: Okta's orgs name the format of imported user names `userNameFormat`; the SDK looks for `usernameFormat`, as
#   Okta's OpenAPI description says. It finds nothing, says so nowhere, and answers with the default: every app imports by
#   EMAIL.
# Source: okta 3.4.6 (PyPI), get_feature_for_application; the org is a local server that answers as Okta's recorded answers do.
# For whoever connects it: don't audit import settings with the SDK. A later update_feature_for_application of what was read
#   would write EMAIL.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --no-compile --disable-pip-version-check 'okta==3.4.6' 'aiohttp==3.14.5' 'pydantic==2.14.4'
export OKTA_TESTING_TESTINGDISABLEHTTPSCHECK=true # the org below is plain http on loopback

venv/bin/python - <<'EOF'
import asyncio
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from aiohttp import web
from okta.client import Client

FEATURE = {
    "name": "INBOUND_PROVISIONING",
    "status": "ENABLED",
    "description": "Import",
    "capabilities": {
        "importSettings": {
            "username": {"userNameFormat": "CUSTOM", "userNameExpression": "user.employeeNumber"},
            "schedule": {"status": "DISABLED"},
        },
        "importRules": {"userCreateAndMatch": {"exactMatchCriteria": "USERNAME"}},
    },
}


async def org(request: web.Request) -> web.Response:
    return web.json_response(FEATURE)


async def serve(org: Callable[[web.Request], Awaitable[web.Response]]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", org)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    runner, url = await serve(org)
    async with Client({"orgUrl": url, "token": "t"}) as client:
        feature, _, error = await client.get_feature_for_application("0oa1", "INBOUND_PROVISIONING")
    await runner.cleanup()
    username = feature.capabilities.import_settings.username
    print("okta", version("okta"))
    print("the org:", FEATURE["capabilities"]["importSettings"]["username"])
    print("the SDK:", username.to_dict())
    assert error is None and username.username_format == "EMAIL", "the format is read now"


asyncio.run(main())
EOF
