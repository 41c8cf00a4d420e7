#!/usr/bin/env bash
# What surprised: Okta sends `Link` twice on each page, once for `self` and once for `next`. In the answer that the SDK hands
#   out the two have become one, the later one. A listing goes on only because Okta happens to send `next` last: in the other
#   order the SDK's own paging ends after the first page, without an error.
# Source: okta 3.4.6 (PyPI), ApiResponse.headers, okta.pagination; the org is a local server.
# For whoever connects it: a proxy or gateway between the SDK and Okta that sorts or regroups headers cuts listings short. Read
#   the links off the raw response (its headers have getall), or count.
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
from okta.pagination import paginate_all


async def org(request: web.Request) -> web.Response:
    base = f"{request.url.origin()}{request.path}"
    after = int(request.query.get("after", 0))
    links = [f'<{base}?limit=1>; rel="self"']
    if after < 3:
        links.append(f'<{base}?limit=1&after={after + 1}>; rel="next"')
    if "next-first" in request.path:
        links.reverse()
    response = web.json_response([{"id": f"00u{after}", "status": "ACTIVE", "scope": "USER"}])
    for link in links:
        response.headers.add("Link", link)
    return response


async def serve(org: Callable[[web.Request], Awaitable[web.Response]]) -> tuple[web.AppRunner, str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", org)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def main() -> None:
    runner, url = await serve(org)
    seen = {}
    async with Client({"orgUrl": url, "token": "t"}) as client:
        for app in ("self-first", "next-first"):
            seen[app] = [user.id async for user in paginate_all(client.list_application_users, limit=1, app_id=app)]
        _, response, _ = await client.list_application_users("self-first", limit=1)
    await runner.cleanup()
    print("okta", version("okta"))
    print("headers of an answer:", type(response.headers).__name__, "with Link =", response.headers["Link"])
    print("four pages of one user each:", seen)
    assert seen["self-first"] == ["00u0", "00u1", "00u2", "00u3"]
    assert seen["next-first"] == ["00u0"], "the order of the two headers doesn't matter any more"


asyncio.run(main())
EOF
