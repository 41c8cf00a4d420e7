#!/usr/bin/env bash
# What surprised: the paging helper of Okta's SDK for Python ends a listing at the first page that fails, and raises nothing. A
#   list that lost its second half looks exactly like a whole one.
# Source: okta 3.4.6 (PyPI), okta.pagination.paginate_all and paginate_pages; the org is a local server.
# For whoever connects it: never decide that somebody is gone on what this helper yields. Page by hand, and look at the error of
#   every answer.
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
from okta.pagination import paginate_all, paginate_pages


async def org(request: web.Request) -> web.Response:
    if "after" in request.query:
        return web.json_response({"errorCode": "E0000009", "errorSummary": "Internal Server Error"}, status=500)
    users = [{"id": f"00u{n}", "status": "ACTIVE", "scope": "USER"} for n in range(500)]
    next_page = f'<{request.url.origin()}/api/v1/apps/0oa1/users?after=00u499&limit=500>; rel="next"'
    return web.json_response(users, headers={"Link": next_page})


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
        people = [user async for user in paginate_all(client.list_application_users, limit=500, app_id="0oa1")]
        pages = [page async for page in paginate_pages(client.list_application_users, limit=500, app_id="0oa1")]
        _, _, error = await client.list_application_users("0oa1", after="00u499", limit=500)
    await runner.cleanup()
    print("okta", version("okta"))
    print("paginate_all:", len(people), "users and no error; paginate_pages:", len(pages), "page, more to come:", pages[-1][2])
    print("the second page asked for by hand:", error)
    assert error is not None, "the second page was to fail"
    assert len(people) == 500 and len(pages) == 1, "the helper tells of the failed page now"
    assert pages[-1][2] is True, "the last page says that it is the last now"


asyncio.run(main())
EOF
