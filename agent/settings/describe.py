"""Settings for people: every one with its value and origin, the example file, the table for the docs. Secrets are masked."""

import ast
import hashlib
import inspect
import re
import types
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from msgspec import Struct
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from agent.settings import sections
from agent.settings.load import Loaded, SettingSource, variable
from agent.settings.sections import Section, Settings
from agent.settings.values import format_duration

MASK = "********"
#: From the first colon to the last @, slashes and question marks included.
_USER_PASSWORD = re.compile(r"(://[^/@:]*:).*@", re.DOTALL)
#: A parameter such as password or sslpassword, however it is written, as far as the next one.
_QUERY_PASSWORD = re.compile(
    r"([?&][^=&]*(?:p|%70)(?:a|%61)(?:s|%73){2}(?:w|%77)[^=&]*=).*?(?=&[\w.-]+=|$)", re.IGNORECASE | re.DOTALL
)


class SettingLine(Struct, frozen=True, kw_only=True):
    """One setting. ``value`` is None where it isn't set."""

    section: str
    key: str
    kind: str
    default: Any
    doc: str
    env: str
    secret: bool
    value: Any = None
    origin: SettingSource = SettingSource(kind="default")

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.key else self.section

    @property
    def row(self) -> dict[str, Any]:
        """As lists of settings have it."""
        origin = {"origin": self.origin.kind, "place": self.origin.place}
        return {"name": self.name, "value": self.value, **origin, "env": self.env}

    @property
    def toml(self) -> str:
        """The default as the file has it."""
        default = self.default
        if isinstance(default, bool):
            return str(default).lower()
        if isinstance(default, list):
            return "[" + ", ".join(f'"{item}"' for item in default) + "]"
        if isinstance(default, int | float):
            return f"{default:g}" if isinstance(default, float) else str(default)
        return f'"{default or ""}"'


def describe(loaded: Loaded) -> list[SettingLine]:
    """Every setting as it is now, with where it came from."""
    rows = []
    for name, key, field, doc in _settings():
        section = getattr(loaded.settings, name)
        value = plain(getattr(section, key) if key else section)
        origin = loaded.origins.get((name, key) if key else (name,), SettingSource(kind="default"))
        if not key and value:
            origin = next((o for k, o in loaded.origins.items() if k[0] == name), origin)
        rows.append(_row(name, key, field, doc, value=value, origin=origin))
    return rows


def digest(settings: Settings) -> str:
    """A short name for these settings, the same for the same ones. Secrets have no part in it: it tells nothing of a value."""
    values = [
        (name, key, plain(getattr(getattr(settings, name), key) if key else getattr(settings, name)))
        for name, key, _, _ in _settings()
    ]
    return hashlib.sha256(repr(values).encode()).hexdigest()[:12]


def all_settings() -> list[SettingLine]:
    return [_row(name, key, field, doc) for name, key, field, doc in _settings()]


def example_file() -> str:
    """config/agent.toml: every setting with its default and why, commented out, so that defaults can improve."""
    lines = [
        "# Settings of the OpsHelm Okta agent: every one, with its default. What stands here commented out is the default;",
        "# remove the # to change it. Each can also be set in the environment (okta.org_url is OPSHELM_OKTA__ORG_URL) or, for",
        "# secrets, as a file in the folder that OPSHELM_SECRETS_DIR names (okta__api_token). Durations: 90s, 15m, 1h, 2d.",
    ]
    section = ""
    for row in all_settings():
        if row.section != section:
            section = row.section
            field = Settings.model_fields[section]
            doc = row.doc if not row.key else (field.annotation.__doc__ or "" if field.annotation else "")
            lines += ["", "", f"# {' '.join(doc.split())}", f"[{section}]"]
        if row.key:
            lines += ["", f"# {row.doc}", f"#{row.key} = {row.toml}"]
        else:
            lines += ['#department = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"']
    return "\n".join(lines) + "\n"


def plain(value: Any) -> Any:
    """As JSON may show it: masked, durations as text."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return _masked(value)
    return value


def text(value: Any) -> str:
    """A value of ``describe`` for people; nothing where it isn't set."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} = {path}" for key, path in value.items())
    return str(value)


def _masked(text: str) -> str:
    """Without the passwords of an address. What might belong to one goes too: a password may have any character in it."""
    text = _USER_PASSWORD.sub(rf"\1{MASK}@", text)
    return _QUERY_PASSWORD.sub(rf"\1{MASK}", text)


def _settings() -> Iterator[tuple[str, str, FieldInfo, str]]:
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            docs = _docs()[kind.__name__]
            yield from ((name, key, inner, docs.get(key, "")) for key, inner in kind.model_fields.items())
        else:
            yield name, "", field, _docs()[Settings.__name__].get(name, "")


@cache
def _docs() -> dict[str, dict[str, str]]:
    """Class → setting → the text below it. Python keeps none of them, and pydantic would read the source at each start."""
    classes = (node for node in ast.parse(inspect.getsource(sections)).body if isinstance(node, ast.ClassDef))
    return {one.name: dict(_texts(one)) for one in classes}


def _texts(one: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(one.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as said)):
                yield name, " ".join(said.split())


def _row(
    name: str, key: str, field: FieldInfo, doc: str, *, value: Any = None, origin: SettingSource | None = None
) -> SettingLine:
    default = plain(field.default)
    if default is None and "duration" in _kind(field):
        default = "off"
    return SettingLine(
        section=name,
        key=key,
        kind=_kind(field),
        default=default,
        doc=doc,
        env=variable((name, key) if key else (name,)),
        secret=SecretStr in (field.annotation, *get_args(field.annotation)),
        value=value,
        origin=origin or SettingSource(kind="default"),
    )


def _kind(field: FieldInfo) -> str:
    kinds = get_args(field.annotation) if isinstance(field.annotation, types.UnionType) else (field.annotation,)
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is timedelta:
        return "duration or `off`" if len(kinds) > 1 else "duration"
    names = {str: "text", int: "number", float: "number", bool: "`true` or `false`", SecretStr: "secret"}
    if kind in names:
        return names[kind]
    return "table" if get_origin(kind) is dict else "list"
