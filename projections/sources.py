"""Find the events behind a row of each table: the positions to look at first when the row is wrong."""

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any
from uuid import UUID

from asyncpg import Connection

from events import bookmarks, catalog, reports, subscribers
from events.log import ids
from projections import merkle
from projections.engine.verify import RowDifference, Source

# Of each row, at most this many positions are returned, the last ones; of a tile, all that differ.
MOST = 5
# Votes on a tool stand in as many streams as it has voters, so they are looked for among this many positions only.
LOOKED_AT = 50_000

OF_STREAMS = """
select e.position from log.recorded_events e
where e.stream = any($1::uuid[]) and e.position <= $2 order by e.position desc limit $3
"""

# Of events other than ballots, which an index of the log finds.
OF_CATEGORY = """
select e.position from log.other_events e
where e.type in ('ToolAdded', 'ToolDescribed') and e.data->>'category' = $1 and e.position <= $2
order by e.position desc limit $3
"""

OF_PERSONA = """
select e.position from log.taken(0, $3, '{}', '{PanelReviewPublished, PanelReviewRevised}') e
where e.data->>'persona' = $1
  and exists (select from log.of_stream(e.stream) t where t.type in ('ToolAdded', 'ToolDescribed')
              and t.data->>'category' = $2 and t.position <= $3)
order by e.position desc limit $4
"""

LAST_TALLIES = """
select distinct c.position from log.changes_taken($1, $2) c
order by c.position desc limit $3
"""

OF_TALLY = """
select distinct c.position from log.changes_taken($2, $3) c
where c.tool = $1
order by c.position desc limit $4
"""

OF_WORD = """
select e.position from log.taken(0, $2, '{}', '{ToolAdded, ToolDescribed}') e
where log.search_terms(e.data->>'name', e.data->>'tagline', e.data->>'category', e.data->>'description')
      @@ quote_literal('3' || $1::text)::tsquery
order by e.position desc limit $3
"""

Key = Mapping[str, Any]


def _streams(streams_of: Callable[[Key], Sequence[UUID]]) -> Source:
    """Return a source that reads the streams that a row's key names."""

    async def source(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
        try:
            streams = streams_of(row.key)
        except ValueError:  # a key that was never an id of ours comes from no event
            return []
        return _in_order(await connection.fetch(OF_STREAMS, streams, position, MOST))

    return source


def _stream(column: str) -> Source:
    return _streams(lambda key: [ids.stream_of(key[column])])


async def _last(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    """Return the position of the row's last event."""
    right = row.right or {}
    return [one for one in (right.get("last_position", right.get("position")),) if one is not None]


async def _cell(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    if row.right is None:  # in such ten minutes nobody voted
        return []
    first, last = row.right["first_position"], row.right["last_position"]
    return _in_order(await connection.fetch(OF_TALLY, row.key["tool"], first - 1, last, MOST))


async def _day(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    if row.right is None:  # on such a day nothing changed the tally
        return []
    first = row.right["first_position"]
    last = first + row.right["hours"][-1][-1]
    return _in_order(await connection.fetch(OF_TALLY, row.key["tool"], first - 1, last, MOST))


async def _tally(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    until = min(position, max(side["position"] for side in (row.live, row.right) if side))
    return _in_order(await connection.fetch(OF_TALLY, row.key["tool"], until - LOOKED_AT, until, MOST))


async def _trend(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    votes = await connection.fetch(OF_TALLY, row.key["tool"], position - LOOKED_AT, position, MOST)
    return _in_order(votes) or await _stream("tool")(connection, row, position)


async def _last_vote(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    return _in_order(await connection.fetch(LAST_TALLIES, position - LOOKED_AT, position, 1))


async def _former_slug(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    tools = [side["tool"] for side in (row.live, row.right) if side]
    return _in_order(await connection.fetch(OF_STREAMS, [ids.stream_of(t) for t in tools if ids.is_id(t)], position, MOST))


async def _category(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    return _in_order(await connection.fetch(OF_CATEGORY, row.key["category"], position, MOST))


async def _word(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    return _in_order(await connection.fetch(OF_WORD, row.key["word"], position, MOST))


async def _reviewer(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    return _in_order(await connection.fetch(OF_PERSONA, row.key["persona"], row.key["category"], position, MOST))


async def _leaves(connection: "Connection[Any]", row: RowDifference, position: int) -> Sequence[int]:
    """Return the positions of the leaves that differ, of a tile of leaves."""
    if row.key["level"] != 0:
        return []
    live, right = (() if side is None else _hashes(side["hashes"]) for side in (row.live, row.right))
    first = merkle.WIDTH * row.key["n"] + 1
    return [first + at for at, (one, other) in enumerate(zip_longest(live, right)) if one != other]


def _hashes(text: str) -> Sequence[str]:
    """Return the hashes of a tile, which JSON has in hexadecimal after `\\x`."""
    width = 2 * merkle.HASH_SIZE
    return [text[at : at + width] for at in range(2, len(text), width)]


def _in_order(rows: Sequence[Any]) -> Sequence[int]:
    return sorted(row["position"] for row in rows)


SOURCES: Mapping[str, Source] = {
    "tools": _stream("tool"),
    "places": _stream("tool"),
    "former_slugs": _former_slug,
    "personas": _streams(lambda key: [catalog.persona_stream(key["lower"])]),
    "panel": _stream("tool"),
    "reviewers": _reviewer,
    "categories": _category,
    "pairs": _streams(lambda key: [ids.stream_of(key["left_tool"]), ids.stream_of(key["right_tool"])]),
    "tallies": _tally,
    "days": _day,
    "disqualified": _stream("voter"),
    "trends": _trend,
    "trends_begin": _last_vote,
    "bookmarks": _streams(lambda key: [bookmarks.stream(key["visitor"], key["tool"])]),
    "reviews": _stream("review"),
    "reports": _streams(lambda key: [reports.stream(key["visitor"], key["review"]), ids.stream_of(key["review"])]),
    "acts": _last,
    "subscribers": _streams(lambda key: [subscribers.stream(key["subscriber"])]),
    "visitors": _streams(lambda key: [subscribers.stream(key["subscriber"])]),
    "corrections": _stream("correction"),
    "corrected_tools": _stream("correction"),
    "standings": _tally,
    "judgements": _stream("tool"),
    "verdicts": _last,
    "cells": _cell,
    "ticks": _last,
    "announcements": _last,
    "kept": _last_vote,
    "decisions": _stream("cohort"),
    "documents": _stream("tool"),
    "words": _word,
    "tiles": _leaves,
}
