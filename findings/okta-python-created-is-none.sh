#!/usr/bin/env bash
# What surprised: Okta's orgs answer 201 to a new session of an identity source, with the session in the body. The SDK knows
#   only 200 there: it returns None for the session and None for the error, so that the id, which every later call needs, is
#   nowhere.
# Source: okta 3.4.6 (PyPI), create_identity_source_session; the org is a local server that answers as Okta's recorded answers
#   do.
# For whoever connects it: a call that returned neither data nor error may have worked. Look at the status and at raw_data of
#   the second item before it is done again: one source has one open session at a time.
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

SESSION = {
    "id": "aps1",
    "identitySourceId": "0oa1",
    "status": "CREATED",
    "importType": "INCREMENTAL",
    "created": "2026-01-01T00:00:00.000Z",
    "lastUpdated": "2026-01-01T00:00:00.000Z",
}


async def org(request: web.Request) -> web.Response:
    return web.json_response(SESSION, status=int(request.path.split("/")[4]))


async def serve(org: Callable[[web.Request], Awaitable[web.Response]]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", org)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    runner, url = await serve(org)
    answers = {}
    async with Client({"orgUrl": url, "token": "t"}) as client:
        for status in ("200", "201"):
            answers[status] = await client.create_identity_source_session(status)
    await runner.cleanup()
    print("okta", version("okta"))
    for status, (session, response, error) in answers.items():
        print(status, "-> session:", session, "error:", error, "raw:", len(response.raw_data), "bytes")
    assert answers["200"][0] is not None
    session, response, error = answers["201"]
    assert session is None and error is None and b"aps1" in response.raw_data, "a 201 is read now"


asyncio.run(main())
EOF
