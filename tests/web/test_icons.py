"""Icons and the manifest: every file that a browser or a home screen asks for is there, and the manifest names what is."""

import struct
from io import BytesIO
from xml.etree import ElementTree

import pytest
from PIL import Image

from services.identity import Identity
from services.web.icons import manifest
from tests.support.heads import Head
from tests.support.http import Site


@pytest.mark.parametrize(("path", "size"), [("/apple-touch-icon.png", 180), ("/icon-192.png", 192), ("/icon-512.png", 512)])
def test_icons_are_pictures_of_their_size(site: Site, path: str, size: int) -> None:
    """Each is a PNG of the size that it is asked for, kept for a day."""
    answer = site.anyone.get(path)
    assert Image.open(BytesIO(answer.content)).size == (size, size)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/png", "public, max-age=86400")


def test_the_oldest_icon_is_there(site: Site) -> None:
    """Programs that look for no other find /favicon.ico, and those that do the SVG of it."""
    ico = site.anyone.get("/favicon.ico")
    assert struct.unpack_from("<HHH", ico.content) == (0, 1, 1)
    assert ico.headers["content-type"] == "image/vnd.microsoft.icon"
    assert ElementTree.fromstring(site.anyone.get("/favicon.svg").text).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_manifest_names_what_is_there(site: Site) -> None:
    """Pages name a manifest, whose icons and first page are served, and their policy lets it be read."""
    page = site.anyone.get("/", {"Accept": "text/html"})
    assert "manifest-src 'self'" in page.headers["content-security-policy"]
    (link,) = Head(page.text).links["manifest"]
    answer = site.anyone.get(link["href"])
    assert answer.headers["content-type"] == "application/manifest+json"
    told = answer.json()
    assert told["name"] == "Ballotpress"
    for path in (told["start_url"], *(icon["src"] for icon in told["icons"])):
        assert site.anyone.get(path, {"Accept": "*/*"}).status_code == 200


def test_a_hostile_name_stays_a_name() -> None:
    """The manifest is JSON whatever the site is called."""
    assert b'\\"}<' in manifest(Identity(site_name='"}</script>'))
