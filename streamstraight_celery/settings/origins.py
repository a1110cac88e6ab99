"""Origins of pages, as browsers name them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?\Z", re.ASCII)
_NUMBERS = re.compile(r"(^|\.)[0-9]+\.?\Z", re.ASCII)  # then it is an address, not a name


def is_origin(text: str) -> bool:
    """Whether a browser may name this origin; it writes each in one way only."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    host = parts.netloc if port is None else parts.netloc.removesuffix(f":{port}")
    if port == usual is not None or port == 0 or text != f"{parts.scheme}://{parts.netloc}":
        return False
    if _HOST_NAME.match(host):
        return parts.scheme not in ("http", "https") or not _NUMBERS.search(host) or _is_ip(host)
    return host.startswith("[") and host.endswith("]") and _is_ip(host[1:-1])


def _is_ip(host: str) -> bool:
    """An address as browsers write it."""
    try:
        return str(ipaddress.ip_address(host)) == host
    except ValueError:
        return False
