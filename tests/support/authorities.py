"""Whom tests trust: one certificate authority whose key is gone. Reading a machine's 140 costs every client of HTTP 50 ms.

What goes to a registry needs the machine's own again.
"""

import os
from pathlib import Path

_FILE = "SSL_CERT_FILE"
#: Where the workers of this session find what the machine said.
_BEFORE = "SSL_CERT_FILE_BEFORE_TESTS"


def trust_nobody() -> None:
    os.environ.setdefault(_BEFORE, os.environ.get(_FILE, ""))
    os.environ[_FILE] = str(Path(__file__).with_name("nobody.pem"))


def to_the_registries() -> dict[str, str]:
    """The environment of a program that installs packages."""
    found = dict(os.environ)
    if before := found.pop(_BEFORE, found.get(_FILE, "")):
        found[_FILE] = before
    else:
        found.pop(_FILE, None)
    return found
