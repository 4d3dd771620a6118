"""Template filters: how tallies, verdicts and times are written. The script that counts live writes them the same way."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
from markupsafe import Markup, escape

from emails.filters import days
from events.reviews import Ground
from projections.cards import UnderReview
from projections.comparison import NO_REVIEWS, NO_VOTES, verdict_line
from projections.reviews import ties_line
from projections.tally import Community
from services.web.category_paths import category_path

FEW: Final = 10
"""From so many votes on a share is written in percent and drawn as a bar; fewer are counted, and drawn one by one."""

HUES: Final = 10
"""The colours of tools' tiles, `.hue-0` and on in the style sheet."""

_VERDICTS: Final = {"ship": "Ship", "skip": "Skip", "mixed": "Mixed"}


def count(number: int, one: str, many: str | None = None) -> str:
    """Write a number of things: `1 vote`, `1,200 votes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def verdict(word: str | None, none: str = "") -> str:
    """Write the panel's verdict; `none` stands for a missing one."""
    return none if word is None else _VERDICTS[word]


def share(tally: Community) -> str:
    """Write the share of ship votes: `62%`, or `2 of 3` while they are so few that a percent would say too much."""
    if not tally.total:
        return "No votes yet"
    return f"{tally.ship} of {tally.total}" if tally.total < FEW else f"{tally.ship_percent}%"


def standing(tally: Community) -> str:
    """Write how a tally stands: `62% ship of 1,200 votes`, `2 of 3 votes ship`."""
    if not tally.total:
        return "No votes yet"
    votes = count(tally.total, "vote")
    return f"{tally.ship} of {votes} ship" if tally.total < FEW else f"{tally.ship_percent}% ship of {votes}"


def host(url: str) -> str:
    """Return the host that an address of the web leads to, as people read it; nothing for another address."""
    try:
        found = urlsplit(url)
    except ValueError:
        return ""
    return (found.hostname or "").removeprefix("www.") if found.scheme in ("https", "http") else ""


def interval(tally: Community) -> str:
    """Write Wilson's 95 % interval of a tally; nothing without votes."""
    if tally.interval is None:
        return ""
    low, high = tally.interval
    return f"95% interval {low:.1f}–{high:.1f}% ship"


def flips(tally: Community) -> str:
    """Write how many voters would have to change sides to flip a tally; nothing while it is too early to call."""
    if tally.flips_to_change is None or not (tally.settled or tally.verdict):
        return ""
    voters = "1 voter" if tally.flips_to_change == 1 else f"{tally.flips_to_change:,} voters"
    return f"{voters} changing sides would flip it"


def score(value: int | None, word: str) -> str:
    """Write a verdict with its score, `88/100 · ship`, or alone without one."""
    return word if value is None else f"{value}/100 · {word}"


def day(time: datetime) -> str:
    """Write a day: 22 November 2026."""
    return f"{time.day} {time:%B %Y}"


def moment(time: datetime) -> str:
    """Write a time for machines (HTML's datetime attribute)."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def minute(time: datetime) -> str:
    """Write a time for readers: 22 November 2026, 09:00 UTC."""
    return f"{day(time)}, {time:%H:%M} UTC"


def clock(time: datetime) -> str:
    """Write a time for people, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def odds(p: float) -> str:
    """Write how rarely chance alone does something, to two figures: `1 in 25`, `1 in 8,100,000`, `less than 1 in a billion`."""
    return f"1 in {float(f'{1 / p:.2g}'):,.0f}" if p >= 1e-9 else "less than 1 in a billion"


def with_code(text: str) -> Markup:
    """Write a sentence whose commands stand between backticks, as a terminal shows it, with each as code."""
    parts = Markup(escape(text)).split("`")  # noqa: S704 - escaped here
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def under_review(spans: Sequence[UnderReview]) -> str:
    """Write which days' votes are under review: Votes of 22 November are under review."""
    return f"Votes of {' and '.join(_span(span.from_, span.to) for span in spans)} are under review."


def _span(first: date, last: date) -> str:
    if first == last:
        return f"{last.day} {last:%B}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{last.day} {last:%B}"
    return f"{first.day} {first:%B} to {last.day} {last:%B}"


def persona_label(name: str, roles: Mapping[str, str]) -> str:
    """Return a persona's name with its role, if it has one: `The Builder – Developer Perspective`."""
    role = roles.get(name.lower())
    return name if role is None else f"The {name} – {role}"


def votes_code(slug: str, base_url: str) -> str:
    """Return the HTML by which another site shows a tool's votes and takes some, where this one allows it."""
    return f'<div data-ballotpress="{slug}"></div>\n<script src="{base_url}/embed.js" defer></script>'


def initial(name: str) -> str:
    """Return the first letter or digit of a name, as a capital; a dot for a name without any."""
    return next((letter.upper()[0] for letter in name if letter.isalnum()), "·")


def hue(slug: str) -> int:
    """Return which of the style sheet's colours is a tool's own: of its slug, so of every page and picture alike."""
    return crc32(slug.encode()) % HUES


def json_ld(value: object) -> Markup:
    """Write an object as JSON inside a script element: nothing in it ends the element, opens a comment or breaks a line.

    Of a text that is no Unicode, what isn't becomes question marks.
    """
    text = msgspec.json.encode(_encodable(value)).decode("utf-8")
    return Markup(text.translate(_IN_SCRIPT))  # noqa: S704 - escaped by the line above


_IN_SCRIPT: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def _encodable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {key: _encodable(member) for key, member in value.items()}
        case list() | tuple():
            return [_encodable(member) for member in value]
    return value


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        count,
        verdict,
        verdict_line,
        ties_line,
        share,
        standing,
        host,
        interval,
        flips,
        score,
        day,
        days,
        moment,
        minute,
        clock,
        odds,
        with_code,
        under_review,
        category_path,
        votes_code,
        initial,
        persona_label,
        hue,
        json_ld,
    )
}

GROUNDS: Final[dict[Ground, str]] = {
    "fake": "Not a real experience",
    "ties": "Ties to the tool that it doesn't tell",
    "off_topic": "Not about this tool",
    "advertising": "Advertises something",
    "offensive": "Insults or threatens",
    "private": "Tells private things of somebody",
    "other": "Something else",
}
"""What can be wrong with a review."""

PUBLISHED: Final = "Votes are published, under a name that nobody can link to you or to your other votes."

GLOBALS: Final = {
    "NO_REVIEWS": NO_REVIEWS,
    "NO_VOTES": NO_VOTES,
    "GROUNDS": GROUNDS,
    "PUBLISHED": PUBLISHED,
    "FEW": FEW,
    "head": None,
    "own_hour": None,
}
