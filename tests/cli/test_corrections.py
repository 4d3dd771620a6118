"""`GET /v1/corrections`: what was corrected, and never who."""

from typing import Any

from events.commands.voters import CorrectVoters
from events.log.command import Receipt
from events.log.committer import Committer
from projections.cards import tallies_at_head
from projections.registry import PROJECTIONS
from tests.support import sites
from tests.support.histories import SLUGS, VOTERS, History, add_three_tools
from tests.support.runners import catch_up, catch_up_all
from tests.support.settings import settings


async def correct(committer: Committer, n: int, *voters: str, reinstate: bool = False) -> Receipt[Any]:
    command = CorrectVoters(f"{n:021d}A", voters, f"reason {n}", tallies_at_head, reinstate=reinstate, operator="op")
    return await committer.submit(command)


async def test_the_list_says_when_how_many_and_why_never_who(dsn: str, committer: Committer, valkey_url: str) -> None:
    """Each correction has its time, counts, reason and the tools before and after; the voters' ids are nowhere in it."""
    await add_three_tools(committer)
    history = History(committer)
    await history.do([("vote", voter, 0, "ship") for voter in VOTERS] + [("vote", VOTERS[0], 1, "skip")])
    await correct(committer, 1, VOTERS[0], VOTERS[1])
    await correct(committer, 2, VOTERS[0], reinstate=True)
    await correct(committer, 3, VOTERS[2])
    await catch_up_all(dsn)
    async with sites.client(settings(dsn, valkey_url)) as site:
        answer = await site.get("/v1/corrections?limit=2")
        page = answer.json()
        assert [item["reason"] for item in page["items"]] == ["reason 3", "reason 2"]
        assert (page["items"][1]["action"], page["items"][1]["voters"], page["items"][1]["votes"]) == ("reinstated", 1, 2)
        seen = {tool["tool"]: (tool["before"]["total"], tool["after"]["total"]) for tool in page["items"][1]["tools"]}
        assert seen == {SLUGS[0]: (2, 3), SLUGS[1]: (0, 1)}
        assert 'rel="next"' in answer.headers["link"]
        rest = (await site.get("/v1/corrections", params={"cursor": page["next"]})).json()
        assert ([item["reason"] for item in rest["items"]], rest["next"]) == (["reason 1"], None)
        assert not any(voter in answer.text for voter in VOTERS)
        again = await site.get("/v1/corrections?limit=2", headers={"if-none-match": answer.headers["etag"]})
        assert again.status_code == 304
        await history.relist(1)
        await catch_up(dsn, PROJECTIONS[0])
        listed = (await site.get("/v1/corrections?limit=2")).json()["items"][1]["tools"]
        assert [tool["tool"] for tool in listed] == [SLUGS[0]]
