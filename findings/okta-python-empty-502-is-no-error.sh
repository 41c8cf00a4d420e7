#!/usr/bin/env bash
# What surprised: a 502 with an empty body, as load balancers send it, comes back from the SDK as no data and no error. Code
#   that asks `if error:` takes it for an app that nobody is assigned to.
# Source: okta 3.4.6 (PyPI), list_application_users; the org is a local server.
# For whoever connects it: look at the status of the second item as well, and treat None as `not known`, never as an empty list.
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
    if "gone" in request.path:
        return web.Response(status=502, content_type="text/html", text="<h1>Bad Gateway</h1>")
    return web.Response(status=502)


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
        users, response, error = await client.list_application_users("0oa1")
        _, _, told = await client.list_application_users("gone")
    await runner.cleanup()
    print("okta", version("okta"))
    print("502 without a body: users", users, "error", error, "status", response.status_code)
    print("502 with a page:    error", str(told).splitlines()[0])
    assert told is not None
    assert users is None and error is None and response.status_code == 502, "an empty 502 is an error now"


asyncio.run(main())
EOF
