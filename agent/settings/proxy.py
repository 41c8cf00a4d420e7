"""The proxy that the environment names for an address. Connects to nothing."""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined]

from agent.settings.consistency import is_loopback


def proxy_for(base_url: str) -> str | None:
    """As HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY say. None for ourselves: the key must not go out on the way there."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    named = getproxies()
    # Entries may have a port or, as httpx allows, a scheme.
    exempt = ",".join(entry.strip().rpartition("://")[2] for entry in named.get("no", "").split(","))
    if is_loopback(host) or proxy_bypass_environment(f"{host}:{port}", {"no": exempt}):
        return None
    found = named.get(parts.scheme) or named.get("all")
    return found if not found or "://" in found else f"http://{found}"
