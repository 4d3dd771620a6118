"""Origins: which site's page sent a write, told by headers that scripts can't change.

A page of a sibling site is another site's: cookies don't tell it from ours (`SameSite` lets it pass), these headers do.
Browsers send `Sec-Fetch-Site` over https and on loopback, and `Origin` with every POST; programs send neither.
"""

from urllib.parse import urlsplit

from services.web.http.call import Call
from services.web.http.problems import NotFromHere


def require_same_origin(call: Call) -> None:
    """Refuse a form unless a page of ours posted it. Raises NotFromHere."""
    site = call.head.get(b"sec-fetch-site")
    if site is not None:
        if site == b"same-origin":
            return
        raise NotFromHere("cross-site")
    if not _is_ours(call, call.head.get(b"origin", b"")):
        raise NotFromHere("no origin of ours")


def refuse_foreign_pages(call: Call) -> None:
    """Refuse a write that a page of another origin sends, unless BALLOTPRESS_CORS_ORIGINS admits it. Raises NotFromHere."""
    site, origin = call.head.get(b"sec-fetch-site"), call.head.get(b"origin")
    if site in (None, b"same-origin", b"none") and (origin is None or site is not None or _is_ours(call, origin)):
        return
    if origin is None or origin.decode("latin-1") not in call.site.settings.cors_origins:
        raise NotFromHere("cross-site")


def _is_ours(call: Call, origin: bytes) -> bool:
    host, base = call.head.get(b"host", b""), urlsplit(call.site.settings.base_url)
    return origin in (b"http://" + host, b"https://" + host, f"{base.scheme}://{base.netloc}".encode())
