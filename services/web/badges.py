"""Badges: both verdicts on a tool in one line, an SVG for the pages of others, always as they stand now.

A badge is made once for all that it shows, so to answer for one costs no more than to look it up.
"""

import re
from functools import lru_cache
from typing import Annotated, Final, NamedTuple
from xml.sax.saxutils import escape

import msgspec
from msgspec import Meta

from services.web.badge_hosts import DAYS, BadgeHost, read_hosts
from services.web.drawings import FIVE_MINUTES
from services.web.faces import COLOURS, Stand
from services.web.http.answers import Answer, Versioned
from services.web.http.call import operator
from services.web.http.endpoints import endpoint
from services.web.http.pages import page
from services.web.http.queries import Query
from services.web.http.shared import tagged
from services.web.http.theme import MEDIA_OF
from services.web.share_cards import community_stand, panel_stand
from services.web.site import Call

_HOSTS: Final = 100
_KEPT: Final = 2_000
_HIGH: Final = 28
_ASIDE: Final = 9
"""Pixels on either side of a segment's words."""
_INK: Final = "#1f1c18"
_FORBIDDEN: Final = re.compile("[\0-\x1f\ud800-\udfff\ufffe\uffff]")  # all but XML 1.0, 2.2; and lines
_NARROW: Final = frozenset(" ,.:;'’|!/()[]ijltfrI1·")
_WIDE: Final = frozenset("mwMW%@+")


class Badge(NamedTuple):
    """All that a badge shows."""

    slug: str
    name: str
    site: str
    stands: tuple[Stand, Stand]


class HostsQuery(Query, frozen=True, kw_only=True):
    """How many days to count, up to today (UTC)."""

    days: Annotated[int, Meta(ge=1, le=DAYS)] = 7


class BadgeHostsAnswer(msgspec.Struct, frozen=True):
    """The hosts whose pages show badges, those that show most first; `other` are further ones, `unknown` those not named."""

    items: list[BadgeHost]


@page("/badge/{badge}", Query)  # a picture, so it stands on pages and not in the document of the API
async def badge(call: Call, query: Query) -> Answer:
    """Give a tool's badge."""
    tool = await call.site.cards.listed(call.path["badge"].removesuffix(".svg"))
    card, head = tool.card, call.head
    call.site.badge_hosts.note(head.get(b"referer"))
    stands = (panel_stand(card.panel), community_stand(card))
    shown = Badge(card.slug, card.name, call.site.settings.identity.site_name, stands)
    return _versioned(shown).answer(head.get(b"if-none-match"))


@endpoint("GET", "/v1/ops/badges", by=operator("read"), takes=HostsQuery, gives=BadgeHostsAnswer)
async def get_badge_hosts(call: Call, query: HostsQuery) -> BadgeHostsAnswer:
    """List the hosts whose pages show badges, with how often badges were asked for from there."""
    return BadgeHostsAnswer(await read_hosts(call.site.database, query.days, _HOSTS))


@lru_cache(_KEPT)
def _versioned(badge: Badge) -> Versioned:
    return Versioned(svg(badge), cache=(*FIVE_MINUTES, *tagged(badge.slug)), media=MEDIA_OF[".svg"])


def svg(badge: Badge) -> bytes:
    """Return a badge as SVG: plain shapes and words, no script, no style and nothing from elsewhere."""
    segments: list[tuple[str, str]] = []  # words, colour
    for stand in badge.stands:
        segments += [(stand.whose.partition(",")[0], _INK), (_said(stand), COLOURS[stand.verdict][0])]
    grounds, letters, x = "", "", 0
    for words, colour in segments:
        wide = _width(words)
        grounds += f'<rect x="{x}" width="{wide + 2 * _ASIDE}" height="{_HIGH}" fill="{colour}"/>'
        letters += f'<text x="{x + _ASIDE}" y="18.5" textLength="{wide}">{_xml(words)}</text>'
        x += wide + 2 * _ASIDE
    stands = "; ".join(f"{stand.whose}: {_said(stand)}" for stand in badge.stands)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{x}" height="{_HIGH}" viewBox="0 0 {x} {_HIGH}" role="img">'
        f"<title>{_xml(badge.name)} · {_xml(stands)} · {_xml(badge.site)}</title>"
        f'<clipPath id="edge"><rect width="{x}" height="{_HIGH}" rx="5"/></clipPath>'
        f'<g clip-path="url(#edge)">{grounds}</g>'
        f'<g fill="#ffffff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="12">{letters}</g></svg>'
    ).encode()


def _said(stand: Stand) -> str:
    """Return a verdict in words: Ship, settled · 87% ship of 30+ votes."""
    sure = stand.whose.partition(", ")[2]
    word = f"{stand.word}, {sure}" if sure else stand.word
    return f"{word} · {stand.line}" if stand.line else word


def _width(words: str) -> int:
    """Return about how wide words of ours are, at 12 pixels; `textLength` then makes them so in any font."""
    return round(sum(4.6 if letter in _NARROW else 11 if letter in _WIDE else 7.6 for letter in words))


def _xml(text: str) -> str:
    return escape(_FORBIDDEN.sub("", text))
