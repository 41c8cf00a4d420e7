"""The rows at ports: the daemon of each build, and other SCIM servers, under the same load from wrk."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.builds import Build, cpu_seconds
from benchmarks.rows import ROOMY, Sizes, free_port
from support.remotes import KEY, node_missing, scim2_server, scimmy

CONNECTIONS = 32
#: A server that answers nothing for so long hangs, and so does a row.
HANGS = 30
#: Answers the same bytes to whatever comes, and so shows what the load itself can do.
BYTES = "bytes alone"
#: method, path and body of each kind of request, in Lua: somebody's ``id``, ``name`` and ``other`` (the externalId) are there, and
#: ``n``, never the same twice.
REQUESTS = {
    "GET one": ("GET", '"/Users/" .. id', "nil", 200),
    "filter userName": ("GET", '"/Users?filter=userName%20eq%20%22" .. name .. "%22"', "nil", 200),
    "page of 100": ("GET", '"/Users?startIndex=" .. math.floor(#ids / 2 + 1) .. "&count=100"', "nil", 200),
    "POST": ("POST", '"/Users"', 'person("n" .. n .. "@example.com", "T", "00u" .. n)', 201),
    "PUT": ("PUT", '"/Users/" .. id', 'person(name, "T" .. n, other)', 200),
    "PATCH": ("PATCH", '"/Users/" .. id', "patch(n % 2 == 0)", 200),
}
_LUA = """
local ids, names, others, threads = {ids}, {names}, {others}, 0
local key, prefix, run = {key}, {prefix}, {run}
function setup(thread) thread:set("number", threads); threads = threads + 1 end
local count = 0
function person(name, title, external)
  return '{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"' .. name .. '","externalId":"' .. external ..
    '","name":{{"givenName":"Pat","familyName":"Lee"}},"emails":[{{"primary":true,"type":"work","value":"' .. name ..
    '"}}],"displayName":"Pat Lee","title":"' .. title .. '","locale":"en-US","active":true}}'
end
function patch(active)
  return '{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{{"op":"replace","path":"active","value":' ..
    tostring(active) .. '}}]}}'
end
local headers = {{["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/scim+json"}}
function request()
  count = count + 1
  local at = (count * 2 + number) % #ids + 1
  local id, name, other, n = ids[at], names[at], others[at], run .. "x" .. number .. "x" .. count
  {prepare}
  return wrk.format("{method}", prefix .. {path}, headers, {body})
end
local wrong = 0
function response(status) if status ~= {status} then wrong = wrong + 1; if wrong == 1 then io.stderr:write("status " .. status .. "\\n") end end end
function done(summary, latency)
  io.write(string.format('{{"requests":%d,"us":%d,"p50":%d,"p99":%d,"timeouts":%d,"wrong":%d}}\\n', summary.requests,
    summary.duration, latency:percentile(50), latency:percentile(99), summary.errors.timeout,
    summary.errors.status))
end
"""


class Answering:
    """A server with people in it. ``durable``: an answered write is on the disk; ``process``: whose time is told beside the load's."""

    def __init__(
        self,
        name: str,
        url: str,
        key: str,
        *,
        durable: bool,
        offers: tuple[str, ...] = tuple(REQUESTS),
        process: int | None = None,
    ) -> None:
        self.name, self.url, self.key, self.durable, self.offers = name, url.rstrip("/"), key, durable, offers
        self._process = process
        self._runs = 0
        #: id, userName and externalId of those who are asked for.
        self.people = [("1", "person0@example.com", "00u1")]

    def fill(self, people: int) -> None:
        self.people.clear()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/scim+json"}
        with httpx.Client(headers=headers, timeout=HANGS) as client:
            for n in range(people):
                login = f"person{n}@example.com"
                body = {
                    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
                    "userName": login,
                    "externalId": f"00u{login}",
                    "name": {"givenName": "Pat", "familyName": "Lee"},
                    "emails": [{"primary": True, "type": "work", "value": login}],
                    "active": True,
                }
                answer = client.post(f"{self.url}/Users", json=body)
                if answer.status_code != 201:
                    raise RuntimeError(f"{self.name} answers a create with {answer.status_code}: {answer.text[:300]}")
                self.people.append((str(answer.json()["id"]), login, f"00u{login}"))

    def load(self, name: str, seconds: int, connections: int = CONNECTIONS) -> dict[str, float]:
        """Requests a second, percentiles in ms, and the server's CPU ms a request, which hold on a busy machine too.

        An unexpected answer, or none for HANGS, is an error.
        """
        method, path, body, status = REQUESTS[name]
        self._runs += 1
        base = httpx.URL(self.url)
        script = _LUA.format(
            **{
                name: "{" + ",".join(map(json.dumps, column)) + "}"
                for name, column in zip(("ids", "names", "others"), zip(*self.people, strict=True), strict=True)
            },
            key=json.dumps(self.key),
            prefix=json.dumps(base.path),
            run=json.dumps(f"{name}{self.name}{self._runs}".replace(" ", "")),
            # Whoever is off goes on at the next round through everybody, and the other way round: each PATCH changes something.
            prepare=f"n = {self._runs} + math.floor(count * 2 / #ids)" if name == "PATCH" else "",
            method=method,
            path=path,
            body=body,
            status=status,
        )
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            before = self._cpu()
            command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", f"--timeout={HANGS}s", "-s", file.name]
            done = subprocess.run(
                [*command, f"{base.scheme}://{base.host}:{base.port}"],
                capture_output=True,
                text=True,
                timeout=seconds + 2 * HANGS,
                check=False,
            )
            spent = self._cpu() - before
        found = json.loads(next((line for line in done.stdout.splitlines() if line.startswith("{")), "{}"))
        if not found.get("requests") or found["wrong"] or found["timeouts"]:
            raise RuntimeError(f"{self.name}, {name}: {found or done.stdout[-300:]} {done.stderr[-300:]}")
        return {
            "/s": found["requests"] / found["us"] * 1e6,
            "p50 ms": found["p50"] / 1000,
            "p99 ms": found["p99"] / 1000,
            **({} if self._process is None else {"cpu ms": 1000 * spent / found["requests"]}),
        }

    def _cpu(self) -> float:
        return 0.0 if self._process is None else cpu_seconds(self._process)


@contextmanager
def serving(builds: list[Build], sizes: Sizes, folder: Path, *, peers: bool) -> Iterator[list[Answering]]:
    with ExitStack() as stack:
        found = [stack.enter_context(daemon(build, folder, name=build.name)) for build in builds]
        for number in sizes.workers:
            env = {"OPSHELM_SERVER__WORKERS": str(number)}
            found += [stack.enter_context(daemon(builds[0], folder, name=f"{number} workers", env=env))]
        found += [stack.enter_context(_bytes(folder))]
        if peers:
            found += [Answering("scim2-server", stack.enter_context(scim2_server()).url, KEY, durable=False)]
            if not node_missing():
                place = folder / "scimmy"
                place.mkdir()
                found += [Answering("SCIMMY", stack.enter_context(scimmy(place)).url, KEY, durable=False)]
            found += [stack.enter_context(_django(folder))]
        for target in found:
            if target.name != BYTES:
                target.fill(sizes.accounts)
        yield found


@contextmanager
def daemon(build: Build, folder: Path, *, name: str, env: Mapping[str, str] | None = None) -> Iterator[Answering]:
    """``name``: its own among those in the folder, and its key's. ``env``: settings besides its ports."""
    place = folder / f"{name}-daemon"
    place.mkdir()
    ports = {"OPSHELM_SERVER__PORT": str(free_port()), "OPSHELM_SERVER__ADMIN_PORT": str(free_port())}
    env = {**ROOMY, **ports, "OPSHELM_SERVER__HOST": "127.0.0.1", **(env or {})}
    build.run("db", "init", folder=place, env=env, codes=(0, 2))
    build.run("keys", "create", name, "--output", "json", folder=place, env=env)
    key = json.loads((place / "out").read_text())["key"]
    with (place / "log").open("w") as log:
        process = build.start("serve", folder=place, env=env, out=log, err=log)
        try:
            url = f"http://127.0.0.1:{ports['OPSHELM_SERVER__PORT']}/scim/v2"
            awaited(url, process, place / "log")
            yield Answering(name, url, key, durable=True, process=process.pid)
        finally:
            process.terminate()
            process.wait(60)


_SAME_BYTES = """
import asyncio, sys
OK = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/scim+json\\r\\nContent-Length: 400\\r\\n\\r\\n" + b"x" * 400
MADE = OK.replace(b"200 OK", b"201 Created")
class Same(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(MADE if data.startswith(b"POST") else OK)
async def serve():
    server = await asyncio.get_running_loop().create_server(Same, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(serve())
"""


@contextmanager
def _bytes(folder: Path) -> Iterator[Answering]:
    port = free_port()
    with (folder / "bytes.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", _SAME_BYTES, str(port)], stdout=log, stderr=log)
        try:
            awaited(f"http://127.0.0.1:{port}", process, folder / "bytes.log")
            yield Answering(BYTES, f"http://127.0.0.1:{port}", "none", durable=False)
        finally:
            process.kill()
            process.wait()


#: With SQLite as Django opens it: each write is a transaction of its own, on the disk. A model of its own takes an app.
_DJANGO = """
import asyncio, sys
import django
from django.conf import settings
from django.urls import include, path

FOLDER, PORT = sys.argv[1], int(sys.argv[2])
class Everybody:
    is_authenticated = True
class Signed:
    def __init__(self, get_response): self.get_response = get_response
    def __call__(self, request):
        request.user = Everybody()
        return self.get_response(request)
sys.modules["benchmark"] = sys.modules["__main__"]
settings.configure(
    DEBUG=False, SECRET_KEY="benchmark", ALLOWED_HOSTS=["*"], ROOT_URLCONF="benchmark", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER + "/django.db", "OPTIONS": {"timeout": 30}}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_scim", "people"],
    AUTH_USER_MODEL="people.Person", MIDDLEWARE=["benchmark.Signed"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    SCIM_SERVICE_PROVIDER={"NETLOC": "localhost", "SCHEME": "http", "AUTHENTICATION_SCHEMES": []},
)
django.setup()
urlpatterns = [path("scim/v2/", include("django_scim.urls"))]
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django.core.wsgi import get_wsgi_application
from wsgiref.simple_server import WSGIServer, WSGIRequestHandler
from socketserver import ThreadingMixIn
class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads, request_queue_size = True, 128
server = Server(("127.0.0.1", PORT), Handler)
server.set_app(get_wsgi_application())
server.serve_forever()
"""
_PERSON = """
from django.contrib.auth.models import AbstractUser
from django_scim.models import AbstractSCIMUserMixin
class Person(AbstractSCIMUserMixin, AbstractUser):
    @property
    def scim_groups(self):
        return self.groups
    class Meta:
        app_label = "people"
"""


@contextmanager
def _django(folder: Path) -> Iterator[Answering]:
    place = folder / "django"
    (place / "people").mkdir(parents=True)
    (place / "people" / "__init__.py").touch()
    (place / "people" / "models.py").write_text(_PERSON)
    (place / "serve.py").write_text(_DJANGO)
    packages = ["django-scim2==0.23.0"]
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--target",
        str(place),
        *packages,
    ]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    port = free_port()
    with (place / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(place / "serve.py"), str(place), str(port)],
            env={**os.environ, "PYTHONPATH": str(place)},
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://127.0.0.1:{port}/scim/v2"
            awaited(url, process, place / "log")
            # Its lists are pages of 50 at most.
            offers = tuple(name for name in REQUESTS if name != "page of 100")
            yield Answering("django-scim2", url, "none", durable=True, offers=offers)
        finally:
            process.kill()
            process.wait()


def awaited(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(20 * HANGS):
        try:
            httpx.get(url)
        except httpx.TransportError:
            if process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{url} did not come up: {log.read_text()[-500:]}")
