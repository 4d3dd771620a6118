"""Numbers under addresses that stay true: a tool, or two side by side, as the log said at a position or a time.

*Counted* is what the site said then. *Corrected* leaves out the voters who are disqualified now, so it may yet change.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from projections import hours, served
from projections.cards import Card
from projections.comparison import Comparison, compare
from projections.tally import community
from services.clock import now
from services.web.card_cache import CachedCard
from services.web.http.answers import FOR_EVER, PUBLIC, Answer, Headers, Versioned, encoder
from services.web.http.problems import BadInput, NotFound
from services.web.http.queries import Query, Time
from services.web.past_cards import TOO_LATE, card_at
from services.web.site import Call
from services.web.tallies import Basis, basis_of

LogPosition = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class AsOfQuery(Query, frozen=True, kw_only=True):
    """The position of the log, or the time, to report on (default: now), and whether to exclude voters disqualified since."""

    position: LogPosition | None = None
    as_of: Time | None = None
    corrected: bool = False

    @property
    def is_past(self) -> bool:
        """Whether more is asked for than how things stand."""
        return self.position is not None or self.as_of is not None or self.corrected


class CardAsOf(Card, frozen=True):
    """A tool as it is; as it was, with the time and the basis of its numbers, and `address`, at which they stay."""

    as_of: datetime | UnsetType = UNSET
    basis: Basis | UnsetType = UNSET
    address: str | UnsetType = UNSET


class ComparisonAsOf(Comparison, frozen=True):
    """Two tools side by side as they are; as they were, with time, position, basis and `address`."""

    as_of: datetime | UnsetType = UNSET
    position: int | UnsetType = UNSET
    basis: Basis | UnsetType = UNSET
    address: str | UnsetType = UNSET


class Moment(NamedTuple):
    """A position of the log, the time that it is told by, and who counts."""

    position: int
    time: datetime
    corrected: bool

    def headers(self, call: Call) -> Headers:
        """Say who may keep what is as of it: anybody for ever, once it is counted and a signed checkpoint covers it."""
        return PUBLIC if self.corrected or self.position > signed(call) else FOR_EVER


def signed(call: Call) -> int:
    """Return up to which position a signed checkpoint covers the log: what it says there never changes."""
    try:
        return call.site.tree.newest.size
    except NotFound:
        return 0


async def read_moment(call: Call, query: AsOfQuery) -> Moment:
    """Return the moment that a query asks for. Raises BadInput, NotFound."""
    if query.position is not None and query.as_of is not None:
        raise BadInput.at("/as_of", "stands for a position: give one of the two")
    database, present = call.site.database, now()
    if query.position is not None:
        time = await database.fetchval(served.TIME_OF, query.position)
        if time is None:
            raise NotFound(TOO_LATE)
        return Moment(query.position, time, query.corrected)
    time = present if query.as_of is None else _utc(query.as_of)
    if time > present:
        raise BadInput.at("/as_of", "is in the future")
    return Moment(await served.position_of(database, time), time, query.corrected)


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise BadInput.at("/as_of", "is out of range") from None


async def read_card(call: Call, tool: CachedCard, moment: Moment) -> Card:
    """Return a tool's card as of a moment, which its `position` is. Raises NotFound, ViewsBehind."""
    card = await card_at(call, tool, moment.position)
    if moment.corrected:
        tally = await hours.at(call.site.reading, tool.tool, moment.position, corrected=True)
        assert tally is not None  # noqa: S101 - the log has the position: the card was read at it
        card = replace(card, community=community(tally.ship, tally.skip))
    return replace(card, position=moment.position, under_review=UNSET)


async def answer_card(call: Call, tool: CachedCard, query: AsOfQuery) -> Answer:
    """Answer with a tool as of the moment that a query asks for."""
    moment = await read_moment(call, query)
    card = await read_card(call, tool, moment)
    return _answer(call, moment, CardAsOf(**_fields(card), **_told(call, f"/v1/tools/{tool.slug}", moment)))


async def answer_comparison(call: Call, left: CachedCard, right: CachedCard, query: AsOfQuery) -> Answer:
    """Answer with two tools side by side as of the moment that a query asks for."""
    moment = await read_moment(call, query)
    compared = compare(await read_card(call, left, moment), await read_card(call, right, moment))
    told = _told(call, f"/v1/comparisons/{left.slug}-vs-{right.slug}", moment)
    return _answer(call, moment, ComparisonAsOf(**_fields(compared), **told, position=moment.position))


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return {field: getattr(struct, field) for field in struct.__struct_fields__}


def _told(call: Call, path: str, moment: Moment) -> dict[str, Any]:
    """Return what is said of a moment, with the address of what a path gives as of it."""
    address = f"{call.site.settings.base_url}{path}?position={moment.position}"
    if moment.corrected:
        address += "&corrected=true"
    return {"as_of": moment.time, "basis": basis_of(moment.corrected), "address": address}


def _answer(call: Call, moment: Moment, answer: CardAsOf | ComparisonAsOf) -> Answer:
    return Versioned(encoder.encode(answer), cache=moment.headers(call)).answer(call.head.get(b"if-none-match"))
