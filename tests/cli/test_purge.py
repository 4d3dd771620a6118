"""Purges: caches are told what the log changed, at least once, and `ballotpress purge` tells them by hand."""

import asyncio
import base64
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from events.commands.bookmarks import SetBookmark
from events.commands.catalog import ImportCatalog
from events.commands.reviews import DecideReview, SubmitReview, WithdrawReview
from events.log import history
from events.log.command import Command
from events.log.committer import Committer
from events.log.vault import Vault
from services.newsletter.schedule import schedule_of
from services.purge import hook
from services.purge.follower import Following
from services.purge.hook import Hook, call
from services.setting_groups import Header, Newsletter
from services.status.read import read_status
from tests.support.catalogs import file, new_id, tool
from tests.support.processes import PATIENCE
from tests.support.receiver import receiving
from tests.support.shell import Follow, Shell, Vote

KEY = "a-secret-of-the-cache"


class Cache:
    """A cache's purge hook on a port of its own: it notes each call, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.calls: list[tuple[Mapping[str, str], Any]] = []
        cache = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                cache.calls.append(({name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                self.send_response(cache.status)
                if cache.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/purge?key={KEY}"

    def told(self) -> list[list[str]]:
        """Give the tags of each call since this was last asked."""
        calls, self.calls = self.calls, []
        return [body["tags"] for _, body in calls]

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def cache() -> Iterator[Cache]:
    """A cache."""
    made = Cache()
    yield made
    made.close()


@pytest.fixture
async def following(dsn: str, cache: Cache, catalog: int, follow: Follow, connection: Any) -> AsyncIterator[Following]:
    """Who tells the cache; it has looked at the log once, so all that stands there is old."""
    await follow()
    made = Following(dsn, Hook(cache.url, Header("Authorization", f"Bearer {KEY}"), "tags"))
    await ticked(made, connection)
    assert cache.told() == []
    yield made


async def ticked(following: Following, connection: Any) -> None:
    """Tell what pages show now: they have to have shown it for a moment."""
    await following.tick(connection)
    await following.tick(connection)


async def test_votes_are_told_together_once_pages_show_them(
    following: Following, cache: Cache, vote: Vote, follow: Follow, connection: Any
) -> None:
    """However many votes came, one call names each tool once, and the lists; and nothing is told before pages show it."""
    await vote("alpha", ["ship", "skip", "ship"])
    await vote("beta", ["ship"])
    await ticked(following, connection)
    assert cache.told() == []
    await follow()
    await following.tick(connection)
    assert cache.told() == []
    await following.tick(connection)
    assert cache.told() == [["list", "tool-alpha", "tool-beta"]]
    await ticked(following, connection)
    assert cache.told() == []


async def test_the_call_has_the_forms_that_caches_take(
    following: Following, cache: Cache, vote: Vote, follow: Follow, connection: Any
) -> None:
    """The tags stand in the body, in `Surrogate-Key` and in `Cache-Tag`, beside the header that proves who calls."""
    await vote("alpha", ["ship"])
    await follow()
    await ticked(following, connection)
    [(headers, body)] = cache.calls
    assert body == {"tags": ["list", "tool-alpha"]}
    assert (headers["surrogate-key"], headers["cache-tag"]) == ("list tool-alpha", "list,tool-alpha")
    assert (headers["authorization"], headers["content-type"]) == (f"Bearer {KEY}", "application/json")


async def test_what_no_page_shows_is_not_told(
    following: Following, cache: Cache, committer: Committer, follow: Follow, connection: Any
) -> None:
    """A bookmark changes no public page."""
    await committer.submit(SetBookmark(new_id(), "alpha", keep=True))
    await follow()
    await ticked(following, connection)
    assert cache.told() == []


async def test_a_restart_tells_nothing_again_and_misses_nothing(
    dsn: str, following: Following, cache: Cache, vote: Vote, follow: Follow, connection: Any
) -> None:
    """Another process goes on where the last call succeeded; while one lives, another leaves it its turn."""
    await vote("alpha", ["ship"])
    await follow()
    await ticked(following, connection)
    cache.told()
    await vote("beta", ["ship"])
    await follow()
    other = Following(dsn, Hook(cache.url, None, "tags"))
    await ticked(other, connection)
    assert cache.told() == []  # the first one's turn is not over
    await connection.execute("update purge.progress set leased_until = now()")
    await ticked(other, connection)
    assert cache.told() == [["list", "tool-beta"]]


async def test_a_rewind_has_everything_forgotten_once(
    dsn: str, following: Following, cache: Cache, vote: Vote, follow: Follow, connection: Any
) -> None:
    """Caches hold pages of the lost time, of which nobody knows the tags; who restarts since then tells them all the same."""
    await vote("alpha", ["ship"])
    await follow()
    await ticked(following, connection)
    assert cache.told() == [["list", "tool-alpha"]]
    lost = await history.mark_of_head(connection)
    assert lost is not None
    await history.note(connection, lost, "a test")
    await following.tick(connection)
    assert cache.told() == []  # pages may show what is gone for a moment yet
    await following.tick(connection)
    assert cache.told() == [["page"]]
    await history.note(connection, history.Mark(lost.position, lost.recorded_at, uuid4()), "a test")
    await connection.execute("update purge.progress set leased_until = now()")
    other = Following(dsn, Hook(cache.url, None, "tags"))
    await ticked(other, connection)
    await other.tick(connection)
    assert cache.told() == [["page"]]
    await ticked(other, connection)
    assert cache.told() == []


@pytest.mark.parametrize("status", [500, 403, 302])
async def test_a_failure_is_tried_again_later_and_seen(
    following: Following,
    cache: Cache,
    vote: Vote,
    follow: Follow,
    connection: Any,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Calls that fail come rarer and rarer, and lose nothing; an operator is told why, without the key or the address."""
    cache.status = status
    await vote("alpha", ["ship"])
    await follow()
    for _ in range(3):
        await connection.execute("update purge.progress set not_before = now()")
        await ticked(following, connection)
    assert len(cache.told()) >= 3
    await ticked(following, connection)
    assert cache.told() == []
    wait = await connection.fetchval("select extract(epoch from not_before - now()) from purge.progress")
    assert 3 < wait <= 4
    found = await read_status(connection, schedule_of(Newsletter()))
    [problem] = [one for one in found.problems if "forget" in one.what]
    assert f"it answered {status}" in problem.what
    assert KEY not in caplog.text + problem.what + problem.advice and "127.0.0.1" not in caplog.text + problem.what
    cache.status = 200
    await vote("beta", ["skip"])
    await follow()
    await connection.execute("update purge.progress set not_before = now()")
    await ticked(following, connection)
    assert cache.told()[0] == ["list", "tool-alpha", "tool-beta"]
    assert "forget" not in str((await read_status(connection, schedule_of(Newsletter()))).problems)


async def test_a_review_of_a_reader_is_told_when_it_is_decided(
    following: Following, cache: Cache, committer: Committer, follow: Follow, connection: Any
) -> None:
    """What waits for a moderator is on no page; what is approved or withdrawn is on its tool's."""
    visitor, review = new_id(), new_id()
    key, keep = Vault([base64.b64encode(os.urandom(32)).decode()]).new_key(review)
    text = key.seal("text", "It does what it says.")
    new = SubmitReview(
        visitor=visitor, slug="alpha", review=review, verdict="ship", score=None, text=text, name=None, keep=keep
    )
    decided: list[Command[Any]] = [
        DecideReview(review, "approve", "op", 1), WithdrawReview(visitor, review),
    ]  # fmt: skip
    for command, told in ((new, []), *((one, [["list", "tool-alpha"]]) for one in decided)):
        await committer.submit(command)
        await follow()
        await ticked(following, connection)
        assert cache.told() == told


async def test_a_renamed_tool_has_everything_forgotten(
    following: Following, cache: Cache, committer: Committer, follow: Follow, connection: Any
) -> None:
    """Its pages stand under another address, and are named elsewhere."""
    renamed = file(tool("gamma", former_slugs=["alpha"]))
    await committer.submit(ImportCatalog.of(renamed, new_id, "op"))
    await follow()
    await ticked(following, connection)
    assert cache.told() == [["page"]]


async def test_what_a_change_shows_on_other_pages_is_told(
    following: Following, cache: Cache, committer: Committer, follow: Follow, connection: Any
) -> None:
    """A tool's page names its successor while that is listed, and every tool's page may name a persona's role."""
    for changed, told in (
        (file(tool("alpha", successor="beta")), ["list", "tool-alpha"]),
        (file(tool("beta", listed=False)), ["list", "tool-alpha", "tool-beta"]),
        (file(personas=({"persona": "Builder", "role": "Another role"},)), ["page"]),
    ):
        await committer.submit(ImportCatalog.of(changed, new_id, "op"))
        await follow()
        await ticked(following, connection)
        assert cache.told() == [told]


async def test_a_log_that_went_back_has_everything_forgotten(following: Following, cache: Cache, connection: Any) -> None:
    """Nobody knows what pages showed of what is gone."""
    await connection.execute("update purge.progress set position = 1000")
    await ticked(following, connection)
    assert cache.told() == [["page"]]


async def test_a_hook_that_is_away_is_said_without_its_address() -> None:
    """Neither a refused connection nor a strange address repeats what the operator set."""
    for url in (f"http://127.0.0.1:9/{KEY}", f"http://[{KEY}/", "http://127.0.0.1:99999/" + KEY):
        said = await call(Hook(url, Header("Fastly-Key", KEY), "surrogate_keys"), ["page"])
        assert said is not None and KEY not in said and "127" not in said


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("drips", "it took longer than 0.6 seconds"),
        ("silent", "it took longer than 0.6 seconds"),
        ("endless", None),
        ("babbles", "it can't be reached: RemoteProtocolError"),
    ],
)
async def test_a_cache_holds_up_a_call_for_no_longer_than_its_patience(
    monkeypatch: pytest.MonkeyPatch, kind: str, says: str | None
) -> None:
    """A cache that answers byte by byte, or never, is given up after a while; a body is not waited for."""
    monkeypatch.setattr(hook, "PATIENCE", 0.6)
    async with receiving() as receiver, asyncio.timeout(PATIENCE):
        assert await call(Hook(receiver.url(kind), None, "tags"), ["page"]) == says


@pytest.mark.usefixtures("catalog")
async def test_a_purge_by_hand(shell: Shell, cache: Cache) -> None:
    """All public pages, or those that show some tools, are forgotten at once; a failure is one line without the key."""
    shell("purge").failed("BALLOTPRESS_PURGE_URL")
    shell.environ |= {"BALLOTPRESS_PURGE_URL": cache.url, "BALLOTPRESS_PURGE_HEADER": f"Fastly-Key: {KEY}"}
    shell("purge", "alpha\r\nX-More: x", status=2)
    assert shell("purge", "--json").json() == {"tags": ["page"]}
    assert "tool-beta" in shell("purge", "alpha", "beta").out
    assert cache.calls[0][0]["fastly-key"] == KEY
    assert cache.told() == [["page"], ["list", "tool-alpha", "tool-beta"]]
    cache.status = 403
    failed = shell("purge")
    failed.failed("it answered 403")
    assert KEY not in failed.err
