"""A running org, a small SCIM service provider that the org pushes to, and Okta's own SDK to talk to it."""

import asyncio
import json
import re
import threading
import uuid
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from agent.simulator import SimulatedOrg

Call = tuple[str, str, Any]
Answer = tuple[int, dict[str, str], Any]


class ScimServer:
    """Users in memory. ``answers`` holds prepared wrong answers, taken one by one; then it behaves."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.calls: list[Call] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[Answer] = []
        self.on_list: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: body
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None:
                pass

            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, headers, answer = owner.serve(self.command, self.path, body, dict(self.headers))
                content = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815 - http.server's names

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/scim/v2"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(self, user_name: str, **fields: Any) -> str:
        user_id = str(uuid.uuid4())
        self.users[user_id] = {"id": user_id, "userName": user_name, "active": True, **fields}
        return user_id

    def methods(self) -> list[str]:
        return [method for method, _, _ in self.calls]

    def serve(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        self.calls.append((method, path, body))
        self.headers.append(headers)
        if self.answers:
            return self.answers.pop(0)
        parts = urlsplit(path)
        user_id = parts.path.removeprefix("/scim/v2/Users").strip("/")
        if method == "GET" and not user_id:
            return 200, {}, self._list(dict(parse_qsl(parts.query)))
        if method == "POST":
            created = self.add(body["userName"], **body)
            self.users[created]["id"] = created
            return 201, {}, self.users[created]
        if user_id not in self.users:
            return (
                404,
                {},
                {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "404", "detail": "gone"},
            )
        if method == "PUT":
            self.users[user_id] = dict(body)
        elif method == "PATCH":
            for operation in body["Operations"]:
                self.users[user_id].update(operation["value"])
        return 200, {}, self.users[user_id]

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        found = list(self.users.values())
        match = re.fullmatch(r'userName eq "(.*)"', query.get("filter", ""))
        if match:
            found = [user for user in found if user["userName"].lower() == match.group(1).lower()]
        start, count = int(query["startIndex"]), int(query["count"])
        page = found[start - 1 : start - 1 + count]
        return self.on_list(
            {"totalResults": len(found), "startIndex": start, "itemsPerPage": len(page), "Resources": page}
        )


@pytest.fixture
def scim() -> Iterator[ScimServer]:
    server = ScimServer()
    yield server
    server.close()


@pytest.fixture
def org() -> Iterator[SimulatedOrg]:
    """Six people, nothing pushed."""
    with SimulatedOrg.start(users=6, seed=7) as running:
        yield running


@pytest.fixture
def pushing(scim: ScimServer) -> Iterator[SimulatedOrg]:
    """Three people, pushed to ``scim``; what it sent for them is forgotten."""
    with SimulatedOrg.start(users=3, seed=7, scim_url=scim.url, scim_key="key", time_scale=0.001) as running:
        running.wait_idle()
        scim.calls.clear()
        scim.headers.clear()
        yield running


@pytest.fixture
def sdk_call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``sdk_call(config, lambda client: client.get_user(...))`` with Okta's SDK; what an error raises comes out."""
    monkeypatch.setenv("OKTA_TESTING_TESTINGDISABLEHTTPSCHECK", "true")

    def call(config: dict[str, Any], work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(_with_client(config, work))

    return call


async def _with_client(config: dict[str, Any], work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    async with _client_class()(config) as client:
        return await work(client)


def _client_class() -> Any:
    """The SDK's client from the mixins that are called here; ``okta.client`` takes seconds to import."""
    from okta.api.application_api import ApplicationApi
    from okta.api.application_groups_api import ApplicationGroupsApi
    from okta.api.application_users_api import ApplicationUsersApi
    from okta.api.event_hook_api import EventHookApi
    from okta.api.group_api import GroupApi
    from okta.api.org_setting_metadata_api import OrgSettingMetadataApi
    from okta.api.profile_mapping_api import ProfileMappingApi
    from okta.api.schema_api import SchemaApi
    from okta.api.system_log_api import SystemLogApi
    from okta.api.user_api import UserApi
    from okta.api.user_lifecycle_api import UserLifecycleApi
    from okta.api.user_resources_api import UserResourcesApi
    from okta.cache.no_op_cache import NoOpCache
    from okta.config.config_setter import ConfigSetter
    from okta.config.config_validator import ConfigValidator
    from okta.request_executor import RequestExecutor

    class Client(
        ApplicationApi,
        ApplicationUsersApi,
        ApplicationGroupsApi,
        EventHookApi,
        GroupApi,
        OrgSettingMetadataApi,
        ProfileMappingApi,
        SchemaApi,
        SystemLogApi,
        UserApi,
        UserLifecycleApi,
        UserResourcesApi,
    ):
        def __init__(self, config: dict[str, Any]) -> None:
            setter = ConfigSetter()
            setter._apply_config({"client": config})  # noqa: SLF001 - as the SDK's own client does it
            self._config = setter._prune_config(setter.get_config())  # noqa: SLF001
            ConfigValidator(self._config)
            super().__init__(configuration=self._config)
            self.executor = self._request_executor = RequestExecutor(self._config, NoOpCache())

        async def __aenter__(self) -> "Client":
            import aiohttp

            self._session = aiohttp.ClientSession()
            self._request_executor.set_session(self._session)
            return self

        async def __aexit__(self, *_: object) -> None:
            await self._session.close()

    return Client
