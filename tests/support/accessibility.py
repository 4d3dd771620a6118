"""What axe-core finds wrong with a page, and whether it is wider than the window, at both widths and in both schemes."""

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.support.browser import SCHEMES, WIDTHS

AXE = Axe()
# It reads each colour anew for each element, a fifth of its time; the same words are the same colour.
EACH_COLOUR_ONCE = """() => { const known = new Map(), colour = axe.commons.color.Color.prototype, parse = colour.parseString;
colour.parseString = function (words) {
  if (!known.has(words)) { parse.call(this, words); known.set(words, [this.r, this.g, this.b, this.alpha]); }
  [this.r, this.g, this.b, this.alpha] = known.get(words);
  return this;
}; }"""
TOLD = {"resultTypes": ["violations"], "selectors": False}
"""Of what axe-core finds: what is wrong; its HTML says where, and selectors take long to make."""
CONTRAST = {"runOnly": ["color-contrast"]}
VIEWS: list[Any] = [(width, scheme, {}) for width, scheme in zip(WIDTHS, SCHEMES, strict=True)]
"""Each rule at both widths and in both schemes."""
EVERY_VIEW: list[Any] = [*VIEWS, *((width, scheme, CONTRAST) for width, scheme in zip(WIDTHS, reversed(SCHEMES), strict=True))]
"""And that of contrast, which takes longest and hangs on both, for each pair of them."""


def faults_of(page: Page, views: list[Any] = VIEWS) -> list[str]:
    """Return what is wrong with the page that is open, in each of these views."""
    page.evaluate(AXE.axe_script)
    page.evaluate(EACH_COLOUR_ONCE)
    return [fault for view in views for fault in faults_of_view(page, *view)]


def faults_of_view(page: Page, width: int, scheme: Literal["light", "dark"], rules: dict[str, object]) -> list[str]:
    """Return what is wrong with the page that is open and holds axe-core, by these rules, in one view."""
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    found = page.evaluate("rules => axe.run(rules).then(found => found.violations)", {**TOLD, **rules})
    where = f"{page.url}, {width} px, {scheme}"
    faults = [f"{where}: {one['id']}: {[node['html'][:120] for node in one['nodes'][:2]]}" for one in found]
    wider = page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    return [*faults, *([f"{where}: {wider} px too wide"] if wider > 0 else [])]
