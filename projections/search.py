"""Find tools by the words of a text, best first: an exact name, the beginning of one, then words of names, taglines, texts.

Below what has the words as they are written stands what has words one slip away. Within each of these tiers tools stand by the
community's order, then by slug. However a text is made, few words of it count, and each stands for few.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final, NamedTuple

import msgspec

from events.log.reads import Reads
from projections.registry import named

MOST_WORDS: Final = 8
"""Words of a text that count: those after them narrow nothing."""
MOST_SPELLINGS: Final = 32
"""Words that one word stands for by its beginning, and again by slips: the most used."""
SHORTEST_PREFIX: Final = 2
SHORTEST_SLIP: Final = 4
FEW: Final = 1_000
"""Up to so many tools that match are all read and sorted; where more are expected, the best are looked through in order."""
MOST_LOOKED_THROUGH: Final = 2_500


class Found(msgspec.Struct, frozen=True):
    """A tool that was found. What sorts before is better: by tier, by place in the community's order, by slug."""

    tier: int
    place: float
    slug: str


class Spelling(NamedTuple):
    """A word that tools have, with how many have it in their name, in name or tagline or category, and in any text."""

    word: str
    counts: tuple[int, int, int]


class _Asked(NamedTuple):
    """A text's key, the number of all tools, and the spellings of its words for three tiers from the `first` on.

    `known` are the terms of tools that stand in tiers before these.
    """

    key: str
    tools: int
    first: int
    spellings: Sequence[Sequence[Spelling]]
    known: str

    @property
    def end(self) -> str:
        """What follows everything that begins with the key."""
        return self.key + chr(0x10FFFF)


class _Tier(NamedTuple):
    """A tier: its number, the condition that a document meets with the arguments from $5 on, and how many are expected."""

    number: int
    condition: str
    arguments: tuple[str, ...]
    expected: float


# The words of a text as documents have theirs, and what each stands for: itself, and the last one also words that it begins.
WORDS = named("""
with asked as materialized (
    select w.n, left(w.word, 40) as word, w.n = least($2, cardinality(a.words)) as is_last
    from (select log.search_words($1) as words) a cross join lateral unnest(a.words) with ordinality as w(word, n)
    where w.n <= $2
)
select a.n, a.word as asked, f.word, f.names, f.leads, f.texts,
       log.search_key($1) as key, (select coalesce(sum(c.tools), 0)::bigint from {cards}.categories c) as tools
from asked a
left join lateral (
    select w.word, w.names, w.leads, w.texts from {search}.words w where w.word = a.word
    union all
    (select w.word, w.names, w.leads, w.texts from {search}.words w
     where a.is_last and length(a.word) >= $3 and w.word > a.word and w.word < a.word || chr(1114111)
     order by w.names desc, w.texts desc, w.word limit $4)
) f on true
order by a.n
""")

# Words of names one slip away from each of these words.
SLIPS = named("""
select a.word as asked, f.word, f.names, f.leads, f.texts
from unnest($1::text[]) with ordinality as a(word, n)
cross join lateral (
    select w.word, w.names, w.leads, w.texts from {search}.words w
    where length(a.word) >= $2 and w.names > 0 and length(w.word) > 4 and w.word <> a.word
      and log.search_variants(w.word) && log.search_variants(a.word)
    order by w.names desc, w.word limit $3
) f
order by a.n
""")

_NAME = "d.key = $5"
_BEGINNING = "d.key > $5 and d.key < $6"
_TERMS = "d.terms @@ $7::text::tsquery and not (d.key >= $5 and d.key < $6)"

# What matches, sorted, if it is no more than $4; `read` tells. Its row is there when no tool's is.
_SORTED = named("""
with matched as materialized (
    select d.tool from {search}.documents d where d.listed and :condition limit $4
)
select f.slug, f.place, c.read
from (select count(*) as read from matched) c
left join lateral (
    select t.slug, t.place
    from matched m
    cross join lateral (
        select y.slug, log.community_place(y.ship, y.skip) as place from {cards}.tallies y where y.tool = m.tool and y.listed
        offset 0 -- keeps this a look-up of each tool
    ) t
    where (t.place, t.slug) > ($1::float8, $2::text)
    order by t.place, t.slug
    limit $3
) f on true
order by f.place, f.slug
""")

# Those of the best tools that match, in order.
_LOOKED_THROUGH = named("""
select t.slug, t.place
from (
    select y.tool, y.slug, log.community_place(y.ship, y.skip) as place
    from {cards}.tallies y
    where y.listed and (log.community_place(y.ship, y.skip), y.slug) > ($1::float8, $2::text)
    order by log.community_place(y.ship, y.skip), y.slug
    limit $4
) t
cross join lateral (
    select from {search}.documents d where d.tool = t.tool and d.listed and :condition
    offset 0 -- so is this
) d
order by t.place, t.slug
limit $3
""")

# Three tiers of words at once, from tier $5 on, with the two of names before them if these are the first: for texts that find
# few tools, as most do. `read` tells whether that was all.
TOGETHER: Final = named("""
with matched as materialized (
    (select d.tool, case when d.key = $6 then 0 else 1 end as tier
     from {search}.documents d
     where d.listed and d.key >= $6 and d.key < $7 and $5::integer = 2 limit $4)
    union all
    (select d.tool, $5 + case when d.terms @@ $8::text::tsquery then 0 when d.terms @@ $9::text::tsquery then 1 else 2 end
     from {search}.documents d
     where d.listed and d.terms @@ $10::text::tsquery and not (d.key >= $6 and d.key < $7) limit $4)
)
select f.tier, f.slug, f.place, c.read
from (select count(*) as read from matched) c
left join lateral (
    select m.tier, t.slug, t.place
    from matched m
    cross join lateral (
        select y.slug, log.community_place(y.ship, y.skip) as place from {cards}.tallies y where y.tool = m.tool and y.listed
        offset 0 -- keeps this a look-up of each tool
    ) t
    where c.read < $4 and (m.tier, t.place, t.slug) > ($1::integer, $2::float8, $3::text)
    order by m.tier, t.place, t.slug
    limit $11
) f on true
order by f.tier, f.place, f.slug
""")

SORTED: Final = {condition: _SORTED.replace(":condition", condition) for condition in (_NAME, _BEGINNING, _TERMS)}
LOOKED_THROUGH: Final = {one: _LOOKED_THROUGH.replace(":condition", one) for one in (_NAME, _BEGINNING, _TERMS)}


async def search(pool: Reads, text: str, after: Found | None, limit: int) -> list[Found]:
    """Return up to `limit` tools that a text finds, the best first, after one of them."""
    rows = await pool.fetch(WORDS, text, MOST_WORDS, SHORTEST_PREFIX, MOST_SPELLINGS)
    if not rows:
        return []
    words = [*dict.fromkeys(row["asked"] for row in rows)]
    written = _by_word(rows, words)
    asked = _Asked(rows[0]["key"], rows[0]["tools"], 2, written, "")
    found = await _read_tiers(pool, asked, after, limit)
    if len(found) == limit:
        return found
    slips = _by_word(await pool.fetch(SLIPS, words, SHORTEST_SLIP, MOST_SPELLINGS), words)
    slips = [[one for one in near if is_slip(one.word, word)] for near, word in zip(slips, words, strict=True)]
    if any(slips):
        either = [[*as_written, *near] for as_written, near in zip(written, slips, strict=True)]
        slipped = asked._replace(first=5, spellings=either, known=_terms(3, written))
        found += await _read_tiers(pool, slipped, after, limit - len(found))
    return found


def is_slip(one: str, other: str) -> bool:
    """Return whether two words differ by one letter that is missing, doubled or another, or by two neighbours swapped."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and one == other[::-1])


def _by_word(rows: Sequence[Any], words: Sequence[str]) -> list[list[Spelling]]:
    """Return what each word of a text stands for; one that stands in it twice counts once."""
    found: dict[str, dict[str, Spelling]] = {word: {} for word in words}
    for row in rows:
        if row["word"] is not None:
            found[row["asked"]][row["word"]] = Spelling(row["word"], (row["names"], row["leads"], row["texts"]))
    return [[*spellings.values()] for spellings in found.values()]


def _tiers(asked: _Asked) -> Iterator[_Tier]:
    """Yield tiers of tools that have a spelling of every word: in the name, with tagline and category, in any text.

    Before the first of them come the names that are the text, and those that begin with it.
    """
    keys, before = (asked.key, asked.end), ""
    if asked.first == 2:
        yield _Tier(0, _NAME, keys[:1], 0)
        yield _Tier(1, _BEGINNING, keys, 0)
    for depth in (1, 2, 3):
        counts = [sum(one.counts[depth - 1] for one in stands_for) for stands_for in asked.spellings]
        if not all(counts):
            continue
        terms = _terms(depth, asked.spellings)
        out = " | ".join(filter(None, (asked.known, before)))
        expected = prod((min(1.0, count / max(1, asked.tools)) for count in counts), start=float(asked.tools))
        yield _Tier(asked.first + depth - 1, _TERMS, (*keys, f"{terms} & !({out})" if out else terms), expected)
        before = terms


def _terms(depth: int, spellings: Sequence[Sequence[Spelling]]) -> str:
    """Return what tools of a depth have, as a `tsquery`: a spelling of every word. It is empty where a word has none."""
    words = [" | ".join(f"'{depth}{one.word}'" for one in stands_for if one.counts[depth - 1]) for stands_for in spellings]
    return " & ".join(f"({word})" for word in words) if all(words) else ""


async def _read_tiers(pool: Reads, asked: _Asked, after: Found | None, limit: int) -> list[Found]:
    """Return up to `limit` tools of these tiers after one of them: all at once if they are few, else tier by tier."""
    tiers = [*_tiers(asked)]
    if sum(tier.expected for tier in tiers) <= FEW:
        name, lead, text = (_terms(depth, asked.spellings) for depth in (1, 2, 3))
        if asked.known and text:
            text = f"{text} & !({asked.known})"
        begin = (-1, 0.0, "") if after is None else (after.tier, after.place, after.slug)
        rows = await pool.fetch(TOGETHER, *begin, 2 * FEW, asked.first, asked.key, asked.end, name, lead, text, limit)
        if rows[0]["read"] < 2 * FEW:
            return [Found(row["tier"], row["place"], row["slug"]) for row in rows if row["slug"] is not None]
    found: list[Found] = []
    for tier in tiers:
        found += await _read(pool, tier, after, limit - len(found))
        if len(found) == limit:
            break
    return found


async def _read(pool: Reads, tier: _Tier, after: Found | None, limit: int) -> list[Found]:
    """Return up to `limit` tools of a tier that stand after one of them, or of a tier before."""
    if after is not None and tier.number < after.tier:
        return []
    begin = (after.place, after.slug) if after is not None and tier.number == after.tier else (float("-inf"), "")
    if tier.expected <= FEW:
        rows = await pool.fetch(SORTED[tier.condition], *begin, limit, 2 * FEW, *tier.arguments)
        if rows[0]["read"] < 2 * FEW:
            return _found(tier, rows)
    rows = await pool.fetch(LOOKED_THROUGH[tier.condition], *begin, limit, MOST_LOOKED_THROUGH, *tier.arguments)
    if len(rows) < limit:  # few of the best match: then not many do
        rows = await pool.fetch(SORTED[tier.condition], *begin, limit, None, *tier.arguments)
    return _found(tier, rows)


def _found(tier: _Tier, rows: Sequence[Any]) -> list[Found]:
    return [Found(tier.number, row["place"], row["slug"]) for row in rows if row["slug"] is not None]
