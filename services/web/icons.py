"""Icons and the manifest: how browsers, home screens and feed readers mark this site. Drawn in its colour when first asked."""

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Final

from litestar.handlers import HTTPRouteHandler

from services.identity import Identity
from services.web.faces import PAPER
from services.web.http.answers import Answer, Content, encoder
from services.web.http.assets import VARIES
from services.web.http.call import Call
from services.web.http.endpoints import route
from services.web.http.theme import MEDIA_OF

MANIFEST: Final = b"application/manifest+json"
ICO: Final = b"image/vnd.microsoft.icon"
SVG: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="{accent}"/>'
    '<path d="M4 8.5l2.7 2.7L12 5.5" fill="none" stroke="#fff" stroke-width="2"/></svg>'
)
_SIZES: Final = (192, 512)
_A_DAY: Final = ((b"cache-control", b"public, max-age=86400"), VARIES)


def _png(size: int, accent: str, *, is_round: bool = False, kind: str = "PNG") -> bytes:
    """Draw the mark. Home screens cut its corners themselves, so it fills the square unless it `is_round`."""
    from PIL import Image  # these load slowly

    from services.web.card_drawing import rounded, sign

    icon = Image.new("RGBA", (size, size), (0, 0, 0, 0) if is_round else accent)
    if is_round:
        icon.paste(accent, (0, 0), rounded(size, size, size // 5))
    check = size * 5 // 9
    icon.paste("#ffffff", ((size - check) // 2, (size - check) // 2), sign("check", check))
    packed = BytesIO()
    icon.save(packed, kind, **({"sizes": [(size, size)]} if kind == "ICO" else {}))
    return packed.getvalue()


def manifest(identity: Identity) -> bytes:
    """Return the web app manifest (W3C): the site's name, colours and icons."""
    icons = [{"src": f"/icon-{size}.png", "sizes": f"{size}x{size}", "type": "image/png", "purpose": "any"} for size in _SIZES]
    return encoder.encode(
        {
            "name": identity.site_name,
            "short_name": identity.site_name,
            "start_url": "/",
            "display": "minimal-ui",
            "background_color": PAPER,
            "theme_color": identity.accent.light,
            "icons": [{"src": "/favicon.svg", "sizes": "any", "type": "image/svg+xml"}, *icons],
        }
    )


_MADE: Final[dict[str, tuple[bytes, Callable[[Identity], bytes]]]] = {
    "/favicon.ico": (ICO, lambda identity: _png(32, identity.accent.light, is_round=True, kind="ICO")),
    "/favicon.svg": (MEDIA_OF[".svg"], lambda identity: SVG.format(accent=identity.accent.light).encode()),
    "/apple-touch-icon.png": (MEDIA_OF[".png"], lambda identity: _png(180, identity.accent.light)),
    "/icon-192.png": (MEDIA_OF[".png"], lambda identity: _png(192, identity.accent.light)),
    "/icon-512.png": (MEDIA_OF[".png"], lambda identity: _png(512, identity.accent.light)),
    "/manifest.webmanifest": (MANIFEST, manifest),
}


@lru_cache(len(_MADE))
def _content(path: str, identity: Identity) -> Content:
    media, make = _MADE[path]
    return Content(make(identity), media)


def _route(path: str) -> HTTPRouteHandler:
    async def handle(request: Call) -> Answer:
        return _content(path, request.site.settings.identity).answer(request.head, _A_DAY)

    return route("GET", path, f"GET {path}", handle)


favicon, favicon_svg, touch_icon, small_icon, large_icon, manifest_file = map(_route, _MADE)
