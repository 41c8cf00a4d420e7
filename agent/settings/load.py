"""Find the sources of settings, merge them and check the whole at once. Opens no database, reaches nobody.

Strongest first: environment (``OPSHELM_OKTA__ORG_URL``), secrets
directory (``OPSHELM_SECRETS_DIR``, files named ``okta__api_token``), the TOML file, defaults. Every problem is
reported in one ConfigError, with the place to look at and never the value.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, NestedSecretsSettingsSource, SecretsSettingsSource, SettingsError

from agent.model.errors import ConfigError
from agent.settings.consistency import inconsistencies
from agent.settings.sections import Section, Settings

PREFIX = "OPSHELM_"
#: Variables that are no settings.
OTHER_VARIABLES = ("OPSHELM_CONFIG", "OPSHELM_SECRETS_DIR")
SEARCHED = ("agent.toml", "config/agent.toml", "/etc/opshelm-agent/agent.toml")

#: A SQLite address with a relative path.
_RELATIVE = re.compile(r"(sqlite:///)(?!/)(.+)")

Nested = dict[str, Any]
#: ("okta", "org_url"), or ("mapping", "title").
Key = tuple[str, ...]


class SettingSource(Struct, frozen=True, kw_only=True):
    """Where a value came from: ``kind`` is environment, secret, file or default."""

    kind: str
    place: str = ""


class Loaded(Struct, frozen=True, kw_only=True):
    settings: Settings
    #: None: no file was found, which is fine.
    file: Path | None
    origins: dict[Key, SettingSource]


def variable(key: Key) -> str:
    """The environment's name for a setting."""
    return PREFIX + "__".join(key).upper()


def find_file(given: str | os.PathLike[str] | None = None) -> Path | None:
    """The configuration file to read. One that was named must exist; those that are searched for need not."""
    named = given or os.environ.get("OPSHELM_CONFIG")
    if named:
        path = Path(named)
        if not path.is_file():
            wrong = "is a folder; name the file in it" if path.is_dir() else "does not exist"
            raise ConfigError([f"{path} {wrong} (named by {'--config' if given else 'OPSHELM_CONFIG'})"])
        return path
    return next((path for path in map(Path, SEARCHED) if path.is_file()), None)


def load(config: str | os.PathLike[str] | None = None, what_if: Nested | None = None) -> Loaded:
    """Read, merge and check. Raises ConfigError with every problem found. ``what_if`` is stronger than all of them."""
    file = find_file(config)
    lines: dict[Key, int] = {}
    sources: list[tuple[str, Nested]] = [
        ("what if", what_if or {}),
        ("environment", dict(EnvSettingsSource(Settings)())),
        ("secret", _secrets()),
    ]
    if file:
        text, values = _parse(file)
        lines = _lines(text)
        sources.append(("file", values))
    origins = {key: _origin(kind, key, file, lines) for kind, values in reversed(sources) for key in _keys(values)}
    settings, problems = _validate(_merge(sources))
    problems += [((name.lower(),), message, name) for name, message in _misspelt_variables()]
    if settings is None or problems:
        raise ConfigError([_line(problem, origins, file, lines) for problem in problems])
    return Loaded(settings=_anchored(settings, file), file=file, origins=origins)


def _anchored(settings: Settings, file: Path | None) -> Settings:
    """A relative SQLite path belongs to the file's folder, or the same command means another database elsewhere."""
    found = _RELATIVE.fullmatch(settings.database.url)
    if found is None:
        return settings
    folder = file.parent.absolute() if file else Path.cwd()
    database = settings.database.model_copy(update={"url": f"{found[1]}{folder / found[2]}"})
    return settings.model_copy(update={"database": database})


def _secrets() -> Nested:
    folder = os.environ.get("OPSHELM_SECRETS_DIR")
    if not folder:
        return {}
    try:
        files = SecretsSettingsSource(Settings, secrets_dir=folder)
        return dict(NestedSecretsSettingsSource(files, secrets_dir_missing="error", secrets_prefix="")())
    except (SettingsError, OSError, UnicodeDecodeError):
        raise ConfigError([f"OPSHELM_SECRETS_DIR: {folder} is not a folder of readable text files"]) from None


def _parse(file: Path) -> tuple[str, Nested]:
    try:
        text = file.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as exc:
        raise ConfigError([f"{file} can't be read: {exc.strerror}"]) from exc
    except UnicodeDecodeError:
        raise ConfigError([f"{file} is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as exc:
        # The library's text may quote what stands there, and that may be a secret: keep its position only.
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(exc))
        line = int(found[1]) if found else len(text.splitlines()) or 1
        raise ConfigError(
            [f"{file}:{line} is not valid TOML{f', column {found[2]}' if found else ': it ends too early'}"]
        ) from None


def _lines(text: str) -> dict[Key, int]:
    """Line numbers of sections and keys, by a scan: the TOML parser doesn't tell."""
    found: dict[Key, int] = {}
    section: Key = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.\-\"' ]+?)\s*\]", line):
            section = _split(header[1])
            found.setdefault(section, number)
        elif entry := re.match(r"\s*([\w.\-\"' ]+?)\s*=", line):
            found.setdefault(section + _split(entry[1]), number)
    return found


def _split(dotted: str) -> Key:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _merge(sources: list[tuple[str, Nested]]) -> Nested:
    merged: Nested = {}
    for _, values in reversed(sources):
        for name, value in values.items():
            known = merged.get(name)
            merged[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def _keys(values: Nested) -> Iterator[Key]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((name, key) for key in value)
        else:
            yield (name,)


def _origin(kind: str, key: Key, file: Path | None, lines: dict[Key, int]) -> SettingSource:
    match kind:
        case "environment":
            return SettingSource(kind=kind, place=variable(key))
        case "secret":
            return SettingSource(kind=kind, place="__".join(key))
        case "file":
            line = lines.get(key) or lines.get(key[:1])
            return SettingSource(kind=kind, place=f"{file}:{line}" if line else f"{file}")
    return SettingSource(kind=kind)


#: Key, what is wrong, and the place where it isn't a setting's own.
Mistake = tuple[Key, str, str]


def _validate(merged: Nested) -> tuple[Settings | None, list[Mistake]]:
    """Section by section, so that a mistake in one doesn't hide those in another."""
    problems: list[Mistake] = []
    good: dict[str, Any] = {}
    wrong: dict[str, frozenset[str]] = {}
    for name, field in Settings.model_fields.items():
        raw = merged.pop(name, {})
        found = list(_wrong_booleans(name, raw, field.annotation))
        try:
            good[name] = _section(name, raw, field.annotation)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_input=False)
            found += [_problem(name, error, field.annotation) for error in errors]
            with suppress(ValidationError):
                good[name] = _section(name, _without(raw, found), field.annotation)
        if found:
            wrong[name] = frozenset(_concerned(found, field.annotation))
            problems += found
    problems += [((name,), _unknown(name, list(Settings.model_fields), "section"), "") for name in merged]
    problems += [(key, message, "") for key, message in inconsistencies(good, wrong)]
    return (Settings(**good) if not problems else None), problems


def _section(name: str, raw: Any, kind: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind.model_validate(raw)
    return getattr(Settings(**{name: raw}), name)


def _without(raw: Any, problems: list[Mistake]) -> Any:
    """What is left of a section when its wrong keys are; nothing of one that is no table."""
    wrong = {key[1] for key, _, _ in problems if len(key) > 1}
    return {key: value for key, value in raw.items() if key not in wrong} if isinstance(raw, dict) else raw


def _concerned(problems: list[Mistake], kind: Any) -> Iterator[str]:
    """The keys that are wrong, and those that a misspelt one may have meant."""
    for key, _, _ in problems:
        yield key[-1]
        yield from get_close_matches(key[-1], _fields(kind), n=1, cutoff=0.6)


def _wrong_booleans(name: str, raw: Any, section: Any) -> Iterator[Mistake]:
    """``port = true`` would be read as 1."""
    for key, value in raw.items() if isinstance(raw, dict) and _fields(section) else ():
        field = section.model_fields.get(key)
        if isinstance(value, bool) and field and field.annotation in (int, float):
            yield (name, key), "must be a number", ""


def _problem(name: str, error: ErrorDetails, section: Any) -> Mistake:
    loc = tuple(str(part) for part in error["loc"])
    key = loc[:2] if loc[:1] == (name,) else (name, *loc[:1])
    match error["type"]:
        case "extra_forbidden":
            return key, _unknown(key[-1], _fields(section), "key"), ""
        case "value_error":
            return key, str(error["ctx"]["error"]), ""
        case "model_type" | "model_attributes_type" | "dict_type":
            return key, f"must be a table, [{name}]", ""
    return (
        key,
        error["msg"].replace("Input should be", "must be").replace("a valid ", "a ").replace("a integer", "an integer"),
        "",
    )


def _unknown(name: str, known: list[str], what: str) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"unknown {what}" + (f", did you mean {close[0]}?" if close else "")


def _misspelt_variables() -> Iterator[tuple[str, str]]:
    """Variables that are nearly a setting's; others may belong to somebody else (a container platform sets OPSHELM_…_PORT)."""
    known = {
        variable((section, key)): None
        for section, field in Settings.model_fields.items()
        for key in _fields(field.annotation)
    }
    joined = {name.replace("__", "_"): name for name in known}
    for name in sorted(os.environ):
        if not name.upper().startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        section = name.upper().removeprefix(PREFIX).split("__")[0].lower()
        if name.upper() in joined and "__" not in name:
            yield name, f"unknown variable, did you mean {joined[name.upper()]}?"
        elif "__" in name and section not in Settings.model_fields:
            close = get_close_matches(name.upper(), list(known), n=1, cutoff=0.8)
            yield name, "unknown variable" + (f", did you mean {close[0]}?" if close else "")


def _fields(section: Any) -> list[str]:
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []


def _line(problem: Mistake, origins: dict[Key, SettingSource], file: Path | None, lines: dict[Key, int]) -> str:
    key, message, place = problem
    if place:
        return f"{place}: {message}"
    origin = origins.get(key)
    if origin and origin.kind in ("environment", "secret"):
        where = origin.place if origin.kind == "environment" else f"secret file {origin.place}"
        return f"{where}: {message}"
    line = lines.get(key) or lines.get(key[:1])
    if origin and origin.kind == "what if":
        file = None  # it was typed, and the file has nothing to do with it
    where = f"{file}:{line} " if file and line else f"{file} " if file and origin else ""
    return f"{where}{'.'.join(key)}: {message}"
