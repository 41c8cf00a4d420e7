#!/usr/bin/env bash
# What surprised: one client sends two forms of its API token: its methods send `Authorization: SSWStoken`, without a space, and
#   its request executor sends `SSWS token`.
# Source: okta 3.4.6 (PyPI), Client.list_users beside Client.get_request_executor; the org is a local server.
# For whoever connects it: whatever reads the scheme between the SDK and Okta (a gateway, a recorder that masks tokens by the
#   pattern `SSWS `, a simulator) sees no scheme in most calls. Mask and match both forms.
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

seen = []


async def org(request: web.Request) -> web.Response:
    seen.append(request.headers["Authorization"])
    return web.json_response([])


async def serve(org: Callable[[web.Request], Awaitable[web.Response]]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", org)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    runner, url = await serve(org)
    async with Client({"orgUrl": url, "token": "T0KEN"}) as client:
        await client.list_users()
        executor = client.get_request_executor()
        request, _ = await executor.create_request("GET", "/api/v1/users", None)
        await executor.execute(request)
    await runner.cleanup()
    print("okta", version("okta"))
    print("a method sends:  ", seen[0])
    print("the executor:    ", seen[1])
    assert seen == ["SSWST0KEN", "SSWS T0KEN"], "both send the same form now"


asyncio.run(main())
EOF
