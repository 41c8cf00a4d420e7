"""Okta's SDK without the parts that nothing here calls, for they cost more to load than a small run takes. Changes none of it.

``import okta`` loads models, the generated client and, with the executor, three libraries of cryptography: 0.4 s of CPU and
30 MB. Here the package and its OAuth stand in place before their code has run; it runs when somebody asks for what it defines.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Unopened(ModuleType):
    """A module whose code runs when an attribute is asked for that isn't there yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspection, by the import system too
            raise AttributeError(name)
        below = f"{self.__name__}.{name}"
        if hasattr(self, "__path__") and find_spec(below):
            return import_module(below)
        return getattr(_opened(self), name)


def _stand_in_place() -> None:
    if "okta" in sys.modules:  # somebody was first, and paid for it
        return
    package = _stand_in("okta")
    oauth = _stand_in("okta.oauth")
    package.__version__ = version("okta")
    package.oauth = oauth
    # The executor imports the class by name, and makes one where it signs with a key.
    oauth.OAuth = lambda *args: _opened(oauth).OAuth(*args)
    if "yaml" not in sys.modules:
        _stand_in("yaml")  # of the SDK's own settings files, which are never read


def _stand_in(name: str) -> Any:
    spec = find_spec(name)
    assert spec is not None
    module = module_from_spec(spec)
    module.__class__ = _Unopened
    sys.modules[name] = module
    return module


def _opened(module: ModuleType) -> Any:
    if isinstance(module, _Unopened):
        module.__class__ = ModuleType  # type: ignore[assignment]
        assert module.__spec__ is not None
        assert module.__spec__.loader is not None
        module.__spec__.loader.exec_module(module)
    return module


_stand_in_place()

from okta.cache.no_op_cache import NoOpCache  # noqa: E402
from okta.config.config_setter import ConfigSetter  # noqa: E402
from okta.config.config_validator import ConfigValidator  # noqa: E402
from okta.errors.http_error import HTTPError  # noqa: E402
from okta.errors.okta_api_error import OktaAPIError  # noqa: E402
from okta.http_client import HTTPClient  # noqa: E402
from okta.request_executor import RequestExecutor  # noqa: E402

__all__ = ["ConfigSetter", "ConfigValidator", "HTTPClient", "HTTPError", "NoOpCache", "OktaAPIError", "RequestExecutor"]
