"""Leaving, and taking that back: by a person's click on a page of ours within a day, and by nothing and nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.commands.subscribers import EraseSubscriber, SuppressSubscriber
from events.log.committer import Committer
from services.newsletter.consents import UNDO_FORM
from services.newsletter.tokens import MailTokens
from tests.support import catalogs
from tests.support.newsroom import Newsroom
from tests.support.settings import SECRET_KEY, settings
from tests.support.sites import client

HERE = {"sec-fetch-site": "same-origin"}
LAST = "select type, data->>'form' as form, data->>'token' as token from log.events order by position desc limit 1"


@pytest.fixture
async def http(dsn: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the newsroom's site."""
    async with client(settings(dsn, valkey_url, home=tmp_path)) as made:
        yield made


@pytest.fixture
def tokens() -> MailTokens:
    """The tokens of the site."""
    return MailTokens((SECRET_KEY,))


def offered(page: httpx.Response) -> str | None:
    """Return the token of the page's button that undoes, if it has one."""
    _, found, rest = page.text.partition('action="/newsletter/undo">\n<input type="hidden" name="token" value="')
    return rest.partition('"')[0] if found else None


async def leave(http: httpx.AsyncClient, tokens: MailTokens, reader: str) -> httpx.Response:
    """Unsubscribe as a mail program does, by one click."""
    body = {"List-Unsubscribe": "One-Click"}
    left = await http.post("/newsletter/unsubscribe", params={"token": tokens.unsubscribe(reader)}, data=body)
    assert left.status_code == 200
    return left


async def undo(http: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    return await http.post("/newsletter/undo", data={"token": token}, headers=headers or HERE)


async def test_a_withdrawal_is_undone_by_the_button_of_its_page(
    room: Newsroom, http: httpx.AsyncClient, tokens: MailTokens, connection: Any
) -> None:
    """The log says by which form and by which token; what was chosen is as before, and the button may be pressed twice."""
    ada = await room.subscribe("ada@example.com", "Chat")
    page = await leave(http, tokens, ada)
    token = offered(page)
    assert token is not None
    assert offered(await http.get("/newsletter/unsubscribe", params={"token": tokens.unsubscribe(ada)}))
    for _ in range(2):
        back = await undo(http, token)
        assert (back.status_code, "You are subscribed again" in back.text) == (200, True)
    row = await connection.fetchrow(LAST)
    assert (row["type"], row["form"], len(row["token"])) == ("UnsubscribeUndone", UNDO_FORM, 64)
    kept = await http.get("/v1/newsletter/preferences", headers={"authorization": f"Bearer {tokens.issue('manage', ada)}"})
    assert kept.json()["categories"] == ["Chat"]
    assert offered(await http.get("/newsletter/unsubscribe", params={"token": tokens.unsubscribe(ada)})) is None


async def test_no_program_and_no_page_of_others_brings_a_reader_back(
    room: Newsroom, http: httpx.AsyncClient, tokens: MailTokens, connection: Any
) -> None:
    """A GET, a POST without a browser's headers, and one from another site change nothing."""
    ada = await room.subscribe("ada@example.com")
    token = offered(await leave(http, tokens, ada))
    assert token is not None
    assert (await http.get("/newsletter/undo", params={"token": token})).status_code in (404, 405)
    assert (await http.get("/newsletter/unsubscribe", params={"token": token})).status_code == 410
    bare = await http.post("/newsletter/undo", data={"token": token}, headers={"accept": "text/html"})
    assert bare.status_code == 403
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "none"}, {"origin": "https://elsewhere.example"}):
        assert (await undo(http, token, **headers)).status_code == 403
    assert (await connection.fetchrow(LAST))["type"] == "Unsubscribed"


async def test_a_token_undoes_its_own_withdrawal_alone(
    room: Newsroom, http: httpx.AsyncClient, tokens: MailTokens, connection: Any
) -> None:
    """Not another reader's, not one that came later, and not with a link of a mail."""
    ada, bob = await room.subscribe("ada@example.com"), await room.subscribe("bob@example.com")
    first = offered(await leave(http, tokens, ada))
    assert first is not None
    await leave(http, tokens, bob)
    assert (await undo(http, first)).status_code == 200
    assert await connection.fetchval("select status from newsletter.subscriber($1)", bob) == "unsubscribed"
    await leave(http, tokens, ada)
    for token in (first, tokens.unsubscribe(ada), tokens.issue("manage", ada), f"{first[:-1]}x"):
        assert (await undo(http, token)).status_code == 410
    assert await connection.fetchval("select status from newsletter.subscriber($1)", ada) == "unsubscribed"


async def test_after_a_day_a_complaint_or_an_erasure_there_is_no_way_back(
    room: Newsroom, http: httpx.AsyncClient, tokens: MailTokens, connection: Any, committer: Committer
) -> None:
    """The page says so and offers none; nor is there one for somebody who never confirmed."""
    readers = [await room.subscribe(f"reader{n}@example.com") for n in range(3)]
    pressed = [offered(await leave(http, tokens, reader)) for reader in readers]
    assert all(pressed)
    await committer.submit(SuppressSubscriber(readers[0], "complaint"))
    await committer.submit(EraseSubscriber(readers[1]))
    async with connection.transaction():
        await connection.execute("set local session_replication_role = replica")  # the log refuses changes otherwise
        await connection.execute(
            "update log.events set recorded_at = recorded_at - interval '25 hours' where data->>'subscriber' = $1", readers[2]
        )
    for reader, token in zip(readers, pressed, strict=True):
        assert token is not None
        assert (await undo(http, token)).status_code == 410
        assert offered(await leave(http, tokens, reader)) is None
        assert await connection.fetchval("select status from newsletter.subscriber($1)", reader) != "confirmed"
    pending = await room.sign_up("pending@example.com")
    assert pending is not None
    assert offered(await leave(http, tokens, pending)) is None


async def test_the_issue_under_way_reaches_who_came_back(
    room: Newsroom, http: httpx.AsyncClient, tokens: MailTokens, connection: Any
) -> None:
    """What the withdrawal stopped is sent after all, once; what had gone out isn't sent again."""
    await room.import_tools(catalogs.tool("a"))
    ada, bob = await room.subscribe("ada@example.com"), await room.subscribe("bob@example.com")
    await room.project()
    await room.deliver()
    number = await room.send_now()
    token = offered(await leave(http, tokens, ada))
    assert token is not None
    assert (await room.reasons(number)) == {ada: "unsubscribed"}
    assert (await undo(http, token)).status_code == 200
    await room.deliver()
    await room.deliver()
    assert await room.accounts(number) == {"accepted": 2}
    again = offered(await leave(http, tokens, bob))
    assert again is not None
    assert (await undo(http, again)).status_code == 200
    await room.deliver()
    assert len(room.sink.mails) == 2
