"""The public log: what anybody needs to hold the site to its word, in the formats of C2SP's tlog-tiles and tlog-checkpoint.

Nothing is served that a published checkpoint doesn't cover. Every origin may read it: pages of others may check us.
"""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from events import ballots
from projections import merkle, own_ballots
from services.proof.checkpoint import Proof, proof_text
from services.proof.packs import ENTRIES as PACK_ENTRIES
from services.web.http.answers import FOR_EVER, Answer, Versioned, encoder
from services.web.http.assets import VARIES
from services.web.http.call import VISITOR
from services.web.http.endpoints import endpoint
from services.web.http.problems import BadInput, NotFound
from services.web.public_tree import A_MOMENT, BYTES, TEXT
from services.web.site import Call

PREFIX: Final = "/log/"
"""What every origin may read."""

Place = Annotated[int, Meta(ge=1, le=2**53)]

_TILE: Final = re.compile(
    r"/?(?P<level>entries|0|[1-9][0-9]?)/(?P<n>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@endpoint("GET", "/log/{log}/checkpoint", gives=TEXT)
async def get_checkpoint(call: Call) -> Answer:
    """Return the newest published checkpoint, a signed note; at most two seconds old while the log moves."""
    return call.site.tree.incarnation(call.path["log"]).checkpoint_answer(call.head.get(b"if-none-match"))


@endpoint("GET", "/log/{log}/log.vkey", gives=TEXT)
async def get_vkey(call: Call) -> Answer:
    """Return the public key that checkpoints are signed under, as C2SP's signed-note spells it."""
    vkey = call.site.tree.incarnation(call.path["log"]).vkey
    return Versioned(f"{vkey}\n".encode(), cache=A_MOMENT, media=TEXT).answer(call.head.get(b"if-none-match"))


@endpoint("GET", "/log/{log}/tile/{tile}", gives=BYTES)
async def get_tile(call: Call) -> Answer:
    """Return a tile of the tree: `L/N` its hashes at a level, `entries/N` its entries, each after its length as two bytes.

    `N` is written in groups of three digits, all but the last after an x (`x001/x234/067`); `.p/W` asks for the first `W` of a
    tile that isn't full.
    """
    level, n, width = _asked(call.path["tile"])
    incarnation = call.site.tree.incarnation(call.path["log"])
    if width > merkle.tile_width(level or 0, n, incarnation.served):
        raise NotFound("The published checkpoint doesn't cover this tile.")
    tile = await call.site.tree.tile((level, n, width))
    if isinstance(tile.content, Versioned):
        return tile.content.answer(call.head.get(b"if-none-match"))
    return tile.content.answer(call.head, (*tile.cache, VARIES))


def _asked(path: str) -> tuple[int | None, int, int]:
    """Return the level (None: entries), the number and the width that a path asks for. Raises NotFound for another spelling."""
    found = _TILE.fullmatch(path)
    if found is None:
        raise NotFound("No tile has such a path.")
    groups = found["n"].replace("x", "").split("/")
    if len(groups) > 1 and groups[0] == "000":
        raise NotFound("No tile has such a path.")
    width = merkle.WIDTH if found["width"] is None else int(found["width"])
    if found["width"] is not None and width >= merkle.WIDTH:
        raise NotFound("A tile of that width is full, and asked for without it.")
    return None if found["level"] == "entries" else int(found["level"]), int("".join(groups)), width


@endpoint("GET", "/log/{log}/pack/{pack}", gives=BYTES, problems=(503,))
async def get_pack(call: Call) -> Answer:
    """Return 65,536 entries, a line each, when all of them are published: `0.jsonl.gz` the first, and so on."""
    number = int(call.path["pack"].partition(".")[0])
    if (number + 1) * PACK_ENTRIES > call.site.tree.incarnation(call.path["log"]).served:
        raise NotFound("The published checkpoint doesn't cover this pack.")
    return Answer(await call.site.packs.read(number), media=BYTES, headers=FOR_EVER)


class InclusionQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The position of an entry, and the size of the tree to prove it in (default: the published one)."""

    position: Place
    size: Place | None = None


class InclusionAnswer(msgspec.Struct, frozen=True):
    """That the entry at a position is the leaf `index` of the tree of a size (RFC 9162, 2.1.3): hashes, the nearest first."""

    position: int
    index: int
    size: int
    hashes: list[bytes]


class ConsistencyQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes of two trees; `to` is the published one by default."""

    from_: Place = msgspec.field(name="from")
    to: Place | None = None


class ConsistencyAnswer(msgspec.Struct, frozen=True):
    """That the tree of size `to` begins with that of size `from` (RFC 9162, 2.1.4)."""

    from_: int = msgspec.field(name="from")
    to: int
    hashes: list[bytes]


@endpoint("GET", "/v1/log/proof", takes=InclusionQuery, gives=InclusionAnswer, problems=(404,))
async def get_inclusion(call: Call, query: InclusionQuery) -> Answer:
    """Prove that an entry is in the published log; the same can be worked out from its tiles."""
    size = _published(call, query.size)
    if query.position > size:
        raise NotFound("The tree of this size has no such position.")
    hashes = await call.site.tree.inclusion(query.position - 1, size)
    return _answer(call, InclusionAnswer(query.position, query.position - 1, size, hashes))


@endpoint("GET", "/v1/log/consistency", takes=ConsistencyQuery, gives=ConsistencyAnswer, problems=(404,))
async def get_consistency(call: Call, query: ConsistencyQuery) -> Answer:
    """Prove that the published log begins with what it was before; the same can be worked out from its tiles."""
    size = _published(call, query.to)
    if query.from_ > size:
        if query.to is not None:
            raise BadInput.at("/from", "must not be above `to`")
        raise NotFound("The published checkpoint doesn't cover this size.")
    return _answer(call, ConsistencyAnswer(query.from_, size, await call.site.tree.consistency(query.from_, size)))


def _published(call: Call, size: int | None) -> int:
    """Return a size that is published, by default the newest. Raises NotFound."""
    newest = call.site.tree.newest.size
    if size is not None and size > newest:
        raise NotFound("The published checkpoint doesn't cover this size.")
    return newest if size is None else size


def _answer(call: Call, answer: InclusionAnswer | ConsistencyAnswer) -> Answer:
    return Versioned(encoder.encode(answer)).answer(call.head.get(b"if-none-match"))


@endpoint("GET", "/v1/tools/{tool}/vote/proof", by=VISITOR, gives=TEXT, statuses=(200, 301))
async def get_vote_proof(call: Call) -> Answer:
    """Prove that the visitor's last event on this ballot is in the published log: a text of C2SP's tlog-proof.

    Its `extra` is the entry. The answer waits up to two seconds for a checkpoint that covers it; then it is 503.
    """
    tool = await call.site.cards.listed(call.path["tool"])
    last = await call.site.log.last(ballots.stream(call.visitor, tool.tool))
    if last is None:
        raise NotFound("You have not voted on this tool.")
    checkpoint = await call.site.tree.covering(last.position, call.network)
    index = last.position - 1
    hashes = await call.site.tree.inclusion(index, checkpoint.size)
    entry = await own_ballots.entry(call.site.database, last)
    text = proof_text(Proof(entry, index, hashes, checkpoint))
    return Versioned(text.encode(), cache=(), media=TEXT).answer(call.head.get(b"if-none-match"))
