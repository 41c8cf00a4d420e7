"""Why a call got no answer: in words, with what to do about it, and whether another try may help. Makes no call.

============================================  =========  ==============================================================
what happened                                 again      the fix that is named
============================================  =========  ==============================================================
the connection is refused, or comes too late  yes        whether it runs; directory.base_url
the name doesn't resolve                      yes        directory.base_url, the name service
a proxy of the environment refuses            yes        HTTPS_PROXY, NO_PROXY
the certificate is signed by somebody else    no         directory.ca_file
the certificate is for another name           no         directory.base_url
the certificate has expired                   no         renew it there
no TLS on that port                           no         directory.base_url
============================================  =========  ==============================================================
"""

import socket
import ssl
from collections.abc import Iterator

import httpx
from msgspec import Struct

#: Raised before anything of a request was sent.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

#: OpenSSL's X509_V_ERR_ numbers: not yet valid, expired; the name, the address.
_DATES = (9, 10)
_NAMES = (62, 64)
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"})


class Trouble(Struct, frozen=True, kw_only=True):
    """``problem`` goes on after "The remote OpsHelm at …"; ``fix`` is a sentence of its own."""

    problem: str
    fix: str
    again: bool = True


def unreached(exc: Exception) -> Trouble:
    """``exc`` is one of NOT_SENT."""
    cause = next((c for c in _chain(exc) if isinstance(c, OSError)), None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _certificate(cause)
    if isinstance(cause, ssl.SSLError):
        return _tls(cause)
    reason, fix = _connection(exc, cause)
    return Trouble(problem=f"can't be reached: {reason}", fix=fix)


def _connection(exc: Exception, cause: OSError | None) -> tuple[str, str]:
    if isinstance(exc, httpx.ProxyError):
        return (
            "the proxy that the environment names refuses the connection",
            "Check HTTPS_PROXY, or name the host in NO_PROXY.",
        )
    if isinstance(exc, httpx.PoolTimeout):
        return "all of the agent's connections are in use", "Raise directory.concurrency."
    if isinstance(exc, httpx.ConnectTimeout):
        return ("no connection came about in time", "Check directory.base_url, and whether a firewall is in between.")
    if isinstance(cause, socket.gaierror):
        return "its name doesn't resolve", "Check directory.base_url and this machine's name service."
    if isinstance(cause, ConnectionRefusedError):
        return "it refuses the connection", "Check whether it runs, and directory.base_url."
    return (
        (cause.strerror if cause is not None else None) or type(exc).__name__,
        "Check directory.base_url and the network.",
    )


def _certificate(cause: ssl.SSLCertVerificationError) -> Trouble:
    if cause.verify_code in _DATES:
        fix = "Renew it there."
    elif cause.verify_code in _NAMES:
        fix = "Set directory.base_url to the name that it is for."
    else:
        fix = "If it is signed by an authority of your own, set directory.ca_file to that one's certificate."
    problem = f"shows a certificate that isn't trusted: {cause.verify_message.rstrip('.')}. Nothing was sent"
    return Trouble(problem=problem, fix=fix, again=False)


def _tls(cause: ssl.SSLError) -> Trouble:
    if cause.reason in _NO_TLS:
        return Trouble(
            problem="speaks no TLS on that port", fix="Check scheme and port of directory.base_url.", again=False
        )
    problem = f"can't be reached: TLS fails ({cause.reason or type(cause).__name__})"
    return Trouble(problem=problem, fix="Check directory.base_url and the remote's TLS settings.")


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
