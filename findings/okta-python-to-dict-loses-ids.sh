#!/usr/bin/env bash
# What surprised: what the SDK read and what its own to_dict() says differ: a User has lost its `id`, `created` and
#   `lastUpdated`, an app user its `externalId` and `lastSync` (but not its id), and some thirty attributes that the answer
#   didn't have are there as null.
# Source: okta 3.4.6 (PyPI), User.to_dict, AppUser.to_dict; the org is a local server.
# For whoever connects it: a cache, export or diff made of to_dict() can't be joined to anybody, and shows attributes as cleared
#   that were never set. Read the attributes of the object, or the raw answer.
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

USER = {
    "id": "00u1",
    "status": "ACTIVE",
    "created": "2026-01-01T00:00:00.000Z",
    "lastUpdated": "2026-01-02T00:00:00.000Z",
    "profile": {"login": "ann@example.com", "email": "ann@example.com", "firstName": "Ann", "lastName": "Example"},
}
APP_USER = {
    "id": "00u1",
    "externalId": "5",
    "created": "2026-01-01T00:00:00.000Z",
    "lastSync": "2026-01-02T00:00:00.000Z",
    "scope": "USER",
    "status": "PROVISIONED",
    "syncState": "SYNCHRONIZED",
}


async def org(request: web.Request) -> web.Response:
    return web.json_response(APP_USER if "/apps/" in request.path else USER)


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
        user, _, _ = await client.get_user("00u1")
        app_user, _, _ = await client.get_application_user("0oa1", "00u1")
    await runner.cleanup()
    lost = sorted(USER.keys() - user.to_dict().keys())
    lost_app = sorted(APP_USER.keys() - app_user.to_dict().keys())
    profile = user.to_dict()["profile"]
    added = [name for name in profile if name not in USER["profile"]]
    print("okta", version("okta"))
    print("read: user id", user.id, "- app user externalId", app_user.external_id)
    print("to_dict() of the user lost", lost, "and of the app user", lost_app)
    print("to_dict() of a profile of", len(USER["profile"]), "attributes has", len(profile), "e.g.", {n: profile[n] for n in added[:3]})
    assert user.id == "00u1" and app_user.external_id == "5"
    assert {"id", "created", "lastUpdated"} <= set(lost), "a user keeps its id now"
    assert {"externalId", "lastSync"} <= set(lost_app) and "id" not in lost_app, "an app user keeps its externalId now"
    assert len(added) > 20 and all(profile[name] is None for name in added), "what is absent stays absent now"


asyncio.run(main())
EOF
