"""SCIM servers from the registries, each installed into a folder of its own and started as a process, as their own docs show.

Each service is the least that its library needs: whoever builds one with it may keep more than it does here.
"""

import subprocess
import venv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from support.authorities import to_the_registries
from support.processes import free_port
from support.remotes import Remote, node_missing, ours, scim2_server, scimmy, started

_DJANGO = """
import sys
from django.conf import settings

PORT, KEY = int(sys.argv[1]), sys.argv[2]
sys.modules["service"] = sys.modules["__main__"]
DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": "service.db"}
COMMON = {
    "ALLOWED_HOSTS": ["*"],
    "DATABASES": {"default": DATABASE},
    "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
    "SECRET_KEY": "not secret",
    "USE_TZ": True,
}
APPS = ["django.contrib.auth", "django.contrib.contenttypes"]


class Anybody:
    is_authenticated = is_active = is_staff = is_superuser = True
    is_anonymous = False


def knows(request):
    return request.headers.get("Authorization") == f"Bearer {KEY}"


def signed_in(respond):
    from django.http import HttpResponse

    def middleware(request):
        if not knows(request):
            return HttpResponse(status=401)
        request.user = Anybody()
        return respond(request)

    return middleware


def serve():
    import django
    from django.core.management import call_command
    from django.core.servers.basehttp import run
    from django.core.wsgi import get_wsgi_application

    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    # One call at a time: SQLite turns down who writes beside somebody else.
    run("127.0.0.1", PORT, get_wsgi_application(), threading=False)
"""

_DJANGO_SCIM2 = """
settings.configure(
    **COMMON,
    AUTH_USER_MODEL="people.User",
    INSTALLED_APPS=[*APPS, "people", "django_scim"],
    MIDDLEWARE=["service.signed_in"],
    ROOT_URLCONF="service",
    SCIM_SERVICE_PROVIDER={
        "NETLOC": "localhost",
        "AUTHENTICATION_SCHEMES": [{"type": "oauthbearertoken", "name": "token", "description": "a token"}],
    },
)
from django.urls import include, path

urlpatterns = [path("scim/v2/", include("django_scim.urls", namespace="scim"))]
serve()
"""

_DJANGO_SCIM2_SERVER = """
settings.configure(
    **COMMON,
    INSTALLED_APPS=[*APPS, "django_scim2_server"],
    ROOT_URLCONF="service",
    SCIM2_SERVER_AUTH_CHECK="service.knows",
)
from django.urls import include, path

urlpatterns = [path("scim/v2/", include("django_scim2_server.urls"))]
serve()
"""

_MITOL = """
import mitol.scim.settings.scim as mitol

settings.configure(
    **COMMON,
    AUTH_USER_MODEL="people.User",
    INSTALLED_APPS=[*APPS, "people", "django_scim", "mitol.scim"],
    MIDDLEWARE=["service.signed_in"],
    ROOT_URLCONF="mitol.scim.urls",
    SCIM_SERVICE_PROVIDER=mitol.SCIM_SERVICE_PROVIDER,
)
serve()
"""

_PEOPLE = """
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django_scim.models import AbstractSCIMGroupMixin, AbstractSCIMUserMixin


class Group(AbstractSCIMGroupMixin):
    name = models.CharField(max_length=80, unique=True)


class User(AbstractSCIMUserMixin, AbstractUser):
    scim_groups = models.ManyToManyField(Group, related_name="user_set")
    global_id = models.CharField(max_length=200, null=True, unique=True)
    created_on = models.DateTimeField(auto_now_add=True)
    updated_on = models.DateTimeField(auto_now=True)
"""

_CANAILLE = """
import datetime
import sys

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from werkzeug.serving import run_simple

port, key = int(sys.argv[1]), sys.argv[2]
config = {"SECRET_KEY": "not secret" * 4, "SERVER_NAME": f"127.0.0.1:{port}", "CANAILLE": {"DATABASE": "memory"}}
app = create_app(config | {"CANAILLE_OIDC": {}, "CANAILLE_SCIM": {"ENABLE_SERVER": True}})
with app.app_context():
    client = models.Client(client_id="agent", client_name="agent", client_secret="s")
    Backend.instance.save(client)
    token = {"access_token": key, "scope": [], "audience": [client], "lifetime": 86400}
    now = datetime.datetime.now(datetime.UTC)
    Backend.instance.save(models.Token(token_id="t", client=client, issue_date=now, **token))
run_simple("127.0.0.1", port, app, threaded=True)
"""

_SCIM2_FLASK = """
import sys

from flask import Flask, abort, request
from scim2_flask import ScimServer
from scim2_models import EnterpriseUser, ResourceType, ScimProvider, User
from scim2_server.memory import InMemoryStorage

port, key = int(sys.argv[1]), sys.argv[2]
app = Flask(__name__)
app.secret_key = "not secret"
types = [ResourceType.from_resource(User[EnterpriseUser])]
provider = ScimProvider(models=[User, EnterpriseUser], resource_types=types)
ScimServer(InMemoryStorage(), provider, app=app)


@app.before_request
def knows():
    if request.headers.get("Authorization") != f"Bearer {key}":
        abort(401)


app.run("127.0.0.1", port, threaded=True)
"""

_SCIM2_SERVER_BEFORE = """
import sys

from scim2_models import ScimProvider
from scim2_server.backend import InMemoryBackend
from scim2_server.provider import SCIMApplication
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple

port, key = int(sys.argv[1]), sys.argv[2]
schemas, types = load_default_schemas().values(), load_default_resource_types().values()
provider = ScimProvider.from_discovery(schemas, types, config=load_default_service_provider_config())
app = SCIMApplication(InMemoryBackend(), provider)
app.register_bearer_token(key)
run_simple("127.0.0.1", port, DispatcherMiddleware(app, {"/scim": app}), threaded=True)
"""

_BETTER_AUTH = """
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { getAuthTables } from "better-auth/db";
import { toNodeHandler } from "better-auth/node";
import { scim } from "@better-auth/scim";

const [port, key] = process.argv.slice(2);
const plugins = [scim({ connections: [{ id: "agent", credentials: [{ id: "agent", token: key }] }] })];
const tables = Object.values(getAuthTables({ plugins })).map((table) => [table.modelName, []]);
const auth = betterAuth({
  baseURL: `http://127.0.0.1:${port}`,
  secret: "not secret, not secret, not secret",
  database: memoryAdapter(Object.fromEntries(tables)),
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins,
});
createServer(toNodeHandler(auth)).listen(Number(port), "127.0.0.1");
"""

_BETTER_AUTH_BEFORE = """
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { getAuthTables } from "better-auth/db";
import { toNodeHandler } from "better-auth/node";
import { admin } from "better-auth/plugins";
import { scim } from "@better-auth/scim";

const [port, key] = process.argv.slice(2);
const plugins = [admin(), scim({ defaultSCIM: [{ providerId: "agent", scimToken: key }] })];
const tables = Object.values(getAuthTables({ plugins })).map((table) => [table.modelName, []]);
const auth = betterAuth({
  baseURL: `http://127.0.0.1:${port}`,
  secret: "not secret, not secret, not secret",
  database: memoryAdapter(Object.fromEntries(tables)),
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  plugins,
});
const handle = toNodeHandler(auth);
// Its tokens name their provider.
const token = Buffer.from(`${key}:agent`).toString("base64url");
createServer((request, response) => {
  if (request.headers.authorization === `Bearer ${key}`) request.headers.authorization = `Bearer ${token}`;
  handle(request, response);
}).listen(Number(port), "127.0.0.1");
"""

_JACKSON = """
import { createServer } from "node:http";
import jackson from "@boxyhq/saml-jackson";

const [port, key] = process.argv.slice(2);
const externalUrl = `http://127.0.0.1:${port}`;
const options = { externalUrl, samlPath: "/saml", scimPath: "/scim/v2", db: { engine: "mem" }, noAnalytics: true };
const { directorySyncController: sync } = await jackson.controllers(options);
const made = await sync.directories.create({ tenant: "t", product: "p", name: "agent", type: "okta-scim-v2" });
const { id, scim } = made.data;

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const url = new URL(request.url, externalUrl);
  const [, , , kind, resourceId] = url.pathname.split("/").map(decodeURIComponent);
  const query = Object.fromEntries(url.searchParams);
  for (const name of ["count", "startIndex"]) if (query[name]) query[name] = parseInt(query[name]);
  const known = request.headers.authorization === `Bearer ${key}`;
  const answer =
    kind === "Users"
      ? await sync.requests.handle({
          method: request.method,
          body: text ? JSON.parse(text) : undefined,
          directoryId: id,
          resourceType: "users",
          resourceId,
          apiSecret: known ? scim.secret : "unknown",
          query,
        })
      : { status: 404, data: {} };
  response.writeHead(answer.status, { "Content-Type": "application/scim+json" });
  response.end(JSON.stringify(answer.data ?? {}));
}).listen(Number(port), "127.0.0.1");
"""

#: Starts one, with nobody in it; installs into the folder what isn't there yet.
Start = Callable[[Path], AbstractContextManager[Remote]]


class RealServer(NamedTuple):
    name: str
    version: str
    start: Start
    #: Whether it needs node and npm.
    node: bool = False

    @property
    def missing(self) -> str:
        """Why it can't be had; "" where it can."""
        return node_missing() if self.node else ""


def _run(install: list[str]) -> None:
    subprocess.run(install, env=to_the_registries(), check=True, capture_output=True, timeout=600)


def _python(script: str, *packages: str, people: bool = False) -> Start:
    @contextmanager
    def start(folder: Path) -> Iterator[Remote]:
        python = folder / "venv" / "bin" / "python"
        if not python.exists():
            venv.create(folder / "venv", with_pip=True)
            install = [str(python), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
            _run([*install, *packages])
        (folder / "server.py").write_text(script)
        (folder / "service.db").unlink(missing_ok=True)
        if people:
            (folder / "people").mkdir(exist_ok=True)
            (folder / "people" / "models.py").write_text(_PEOPLE)
        port = free_port()
        with started([str(python), "server.py"], port, f"http://127.0.0.1:{port}/scim/v2", folder) as remote:
            yield remote

    return start


def _npm(script: str, path: str, *packages: str) -> Start:
    @contextmanager
    def start(folder: Path) -> Iterator[Remote]:
        if not (folder / "node_modules").is_dir():
            # Its own peers don't agree with each other.
            install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--legacy-peer-deps"]
            _run([*install, "--prefix", str(folder), *packages])
        (folder / "server.mjs").write_text(script)
        port = free_port()
        with started(["node", "server.mjs"], port, f"http://127.0.0.1:{port}{path}", folder) as remote:
            yield remote

    return start


@contextmanager
def _second_agent(folder: Path) -> Iterator[Remote]:
    with ours(folder / f"agent{len(list(folder.iterdir()))}") as remote:
        yield remote


@contextmanager
def _scim2_server(_: Path) -> Iterator[Remote]:
    with scim2_server() as remote:
        yield remote


def _scimmy(express: str) -> Start:
    return lambda folder: scimmy(folder, express)


_DJANGO_PACKAGES = ("django==5.2.19",)

SERVERS = (
    RealServer("a second agent", "this one", _second_agent),
    RealServer("scim2-server", version("scim2-server"), _scim2_server),
    RealServer(
        "scim2-server, before", "0.3.3", _python(_SCIM2_SERVER_BEFORE, "scim2-server==0.3.3", "scim2-models==0.12.3")
    ),
    RealServer(
        "scim2-flask",
        "0.1.1",
        _python(_SCIM2_FLASK, "scim2-flask==0.1.1", "scim2-server==0.8.3", "scim2-models==0.12.3"),
    ),
    RealServer("SCIMMY on Express 4", "1.3.5", _scimmy("4.22.3"), node=True),
    RealServer("SCIMMY on Express 5", "1.3.5", _scimmy("5.3.0"), node=True),
    RealServer(
        "django-scim2",
        "0.23.0",
        _python(_DJANGO + _DJANGO_SCIM2, "django-scim2==0.23.0", *_DJANGO_PACKAGES, people=True),
    ),
    RealServer(
        "mitol-django-scim",
        "2026.10.9",
        _python(_DJANGO + _MITOL, "mitol-django-scim==2026.10.9", *_DJANGO_PACKAGES, people=True),
    ),
    RealServer(
        "django-scim2-server",
        "1.1.0",
        _python(
            _DJANGO + _DJANGO_SCIM2_SERVER, "django-scim2-server==1.1.0", "scim2-models==0.12.3", *_DJANGO_PACKAGES
        ),
    ),
    RealServer(
        "@better-auth/scim",
        "1.7.5",
        _npm(_BETTER_AUTH, "/api/auth/scim/v2", "better-auth@1.7.5", "@better-auth/scim@1.7.5"),
        node=True,
    ),
    RealServer(
        "@better-auth/scim with admin",
        "1.6.27",
        _npm(_BETTER_AUTH_BEFORE, "/api/auth/scim/v2", "better-auth@1.6.34", "@better-auth/scim@1.6.27"),
        node=True,
    ),
    RealServer(
        "@better-auth/scim, the first",
        "1.4.19",
        _npm(_BETTER_AUTH_BEFORE, "/api/auth/scim/v2", "better-auth@1.4.19", "@better-auth/scim@1.4.19"),
        node=True,
    ),
    RealServer("@boxyhq/saml-jackson", "26.2.0", _npm(_JACKSON, "/scim/v2", "@boxyhq/saml-jackson@26.2.0"), node=True),
    RealServer("canaille", "0.3.6", _python(_CANAILLE, "canaille[scim,oidc,front]==0.3.6", "scim2-models==0.12.3")),
)
