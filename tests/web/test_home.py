"""The first page tells the week."""

import re

from tests.support.catalogs import opinion
from tests.support.http import Site


def section(page: str, id_: str) -> str:
    """Return a section of a page by the id of its heading."""
    found = re.search(rf'<section[^>]*aria-labelledby="{id_}".*?</section>', page, re.S)
    assert found is not None
    return found[0]


def test_the_first_page_tells_the_week(site: Site) -> None:
    """What moved stands there once, settled rather than so far; who leads, what came last and the newest pair stand by it."""
    left = site.add_tool(name="Mover", panel=[opinion()])
    right = site.add_tool(name="Latest")
    site.import_catalog({"tools": [], "comparisons": [{"left": left, "right": right}]})
    for _ in range(8):
        position = site.visitor().vote(left, "ship")
    page = site.anyone.get("/", {"Accept": "text/html"}, after=position).text
    moved = section(page, "moved")
    assert moved.count(f'href="/tools/{left}"') == 1
    assert "<span>settled</span>" in moved and "Too early" in moved and '<span class="badge ship">Ship</span>' in moved
    assert f'href="/tools/{left}"' in section(page, "leaders")
    assert f'href="/tools/{right}"' in section(page, "judged")
    assert f'href="/compare/{left}-vs-{right}"' in section(page, "newest")
    assert "8 of 8 votes ship" in section(page, "newest")
