#!/usr/bin/env bash
# What surprised: the calls that have no answer to hand out (suspend, deactivate, unassign, group membership) return three items
#   when they succeed and two when they fail. `_, _, error = await ...`, which is how every other call is read, works until the
#   first failure and then raises ValueError instead of telling Okta's error.
# Source: okta 3.4.6 (PyPI), UserLifecycleApi, GroupApi, ApplicationUsersApi; the org is a local server.
# For whoever connects it: write `*_, error = await ...` for these calls. The error path of a deprovisioning script is the one
#   that nobody tried.
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


async def org(request: web.Request) -> web.Response:
    if "00u404" in request.path:
        error = {"errorCode": "E0000007", "errorSummary": "Not found: Resource not found: 00u404 (User)", "errorCauses": []}
        return web.json_response(error, status=404)
    return web.json_response({})


async def serve(org: Callable[[web.Request], Awaitable[web.Response]]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", org)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    runner, url = await serve(org)
    lengths = {}
    async with Client({"orgUrl": url, "token": "t"}) as client:
        for user in ("00u1", "00u404"):
            lengths[user] = {
                "suspend_user": len(await client.suspend_user(user)),
                "deactivate_user": len(await client.deactivate_user(user)),
                "unassign_user_from_application": len(await client.unassign_user_from_application("0oa1", user)),
                "unassign_user_from_group": len(await client.unassign_user_from_group("00g1", user)),
                "get_user": len(await client.get_user(user)),
            }
        *_, error = await client.suspend_user("00u404")
    await runner.cleanup()
    print("okta", version("okta"))
    print("items when it succeeds:", lengths["00u1"])
    print("items when it fails:   ", lengths["00u404"], "the last one:", error)
    assert set(lengths["00u1"].values()) == {3}
    failed = lengths["00u404"]
    assert failed.pop("get_user") == 3 and set(failed.values()) == {2}, "all calls return as many items now"


asyncio.run(main())
EOF
