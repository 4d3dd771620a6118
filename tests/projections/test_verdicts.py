"""When verdicts came and changed: each by the very event, whatever the windows."""

from events.catalog import PanelReviewPublished, PanelReviewRevised
from events.commands.ballots import CastVote
from events.log import ids
from events.log.committer import Committer
from projections import verdicts
from projections.registry import PROJECTIONS
from tests.support.catalogs import new_id
from tests.support.log import add_tools, append
from tests.support.runners import Connection, catch_up_all, rebuild, tables, told_by_the_log

VIEW = next(projection for projection in PROJECTIONS if projection.name == "verdicts")
POSITIONS = "select kind, max(position) as position from verdicts_1.verdicts group by kind"


async def test_each_change_of_a_verdict_stands_at_its_event(dsn: str, committer: Committer, connection: Connection) -> None:
    """Four alike are a verdict, eight alike a settled one; the panel's comes with its first review and follows each."""
    tool = (await add_tools(committer, "watched"))["watched"]
    reviews = [
        PanelReviewPublished(tool=tool, persona="Builder", verdict="ship", take="t"),
        PanelReviewPublished(tool=tool, persona="Skeptic", verdict="skip", take="t"),
        PanelReviewRevised(tool=tool, persona="Builder", verdict="skip", take="t"),
        PanelReviewRevised(tool=tool, persona="Builder", verdict="skip", take="better"),
    ]
    await committer.submit(append(*((ids.stream_of(tool), review) for review in reviews)))
    for _ in range(9):
        await committer.submit(CastVote(new_id(), "watched", "ship"))
    await catch_up_all(dsn)
    rows = await connection.fetch(verdicts.NEWEST, 10)
    assert [(row["kind"], row["before"], row["after"]) for row in rows] == [
        ("settled", None, "ship"), ("panel", "mixed", "skip"), ("panel", "ship", "mixed"), ("panel", None, "ship")
    ]  # fmt: skip
    head = await connection.fetchval("select position from log.head")
    last = {row["kind"]: head - row["position"] for row in await connection.fetch(POSITIONS)}
    assert last == {"settled": 1, "community": 5, "panel": 10}
    told = (await told_by_the_log(connection))[VIEW.name]
    assert await tables(connection, VIEW.schema) == told
    for size in (1, 5):
        schema = await rebuild(connection, dsn, VIEW, [size])
        assert await tables(connection, schema) == told
        await connection.execute(f"drop schema {schema} cascade")
