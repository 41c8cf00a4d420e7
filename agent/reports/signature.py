"""The installation's key, with which reports are signed: Ed25519, a detached signature over the file's bytes.

The private key is a PEM file that its owner alone can read; whoever has the public key needs no agent to check a report
(``openssl pkeyutl -verify -rawin``).
"""

import os
from mmap import ACCESS_READ, mmap
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.model.errors import ConfigError


def make(file: Path) -> Ed25519PrivateKey:
    """A new key. Raises ConfigError where there is one already, or the file can't be written."""
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
    except OSError as exc:
        raise ConfigError([f"reports.signing_key: {file} can't be made: {exc.strerror}"]) from exc
    return key


def load(file: Path) -> Ed25519PrivateKey | None:
    """None: there is no such file. Raises ConfigError for one that is no Ed25519 key; never shows what it holds."""
    try:
        found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError([f"reports.signing_key: {file} can't be read: {exc.strerror}"]) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ConfigError([f"reports.signing_key: {file} is no unencrypted private key in PEM"]) from exc
    if not isinstance(found, Ed25519PrivateKey):
        raise ConfigError([f"reports.signing_key: {file} is no Ed25519 key"])
    return found


def public_pem(key: Ed25519PrivateKey) -> str:
    encoded = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded.decode()


def holds(public: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def load_public(file: Path) -> Ed25519PublicKey:
    """Raises ConfigError for anything but an Ed25519 public key in PEM."""
    try:
        found = serialization.load_pem_public_key(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as exc:
        raise ConfigError([f"{file} is no public key in PEM"]) from exc
    if not isinstance(found, Ed25519PublicKey):
        raise ConfigError([f"{file} is no Ed25519 key"])
    return found


def of(file: Path, key: Ed25519PrivateKey) -> bytes:
    """The detached signature of what is in the file."""
    with file.open("rb") as written, mmap(written.fileno(), 0, access=ACCESS_READ) as view, memoryview(view) as whole:
        return key.sign(whole)


def beside(file: Path) -> Path:
    """Where a file's signature is."""
    return file.with_name(f"{file.name}.sig")
