"""A network's share: of every write, of votes, reviews, viewers and guesses, whatever it owns, and with Valkey away or late."""

import asyncio
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from redis.asyncio import Redis

from services.web.app import PAGES, ROUTES
from services.web.http.auth import VisitorTokens
from services.web.http.counters import Limit
from services.web.http.limits import Limits
from services.web.http.local_counts import Bound, LocalCounts
from services.web.http.networks import Networks, Places, Share
from services.web.http.problems import TooManyRequests
from services.web.wait import MOST_WAITERS, NETWORK_WAITERS, TooManyWait, ViewProgress, ViewsBehind
from tests.support import calling, servers
from tests.support.http import Caller, Site, serving
from tests.support.processes import PATIENCE
from tests.support.routes import Route
from tests.support.settings import SECRET_KEY, settings
from tests.support.sites import client

OF = Networks(()).of
TEN = Share("ten", 10, 600, "writes")


@pytest.fixture
async def limits(valkey_url: str) -> AsyncIterator[Limits]:
    """The limits of one process, on an empty Valkey."""
    async with Redis.from_url(valkey_url) as valkey:
        await valkey.flushall()
        made = Limits(valkey)
        yield made
        await made.close()


@pytest.mark.parametrize(
    ("address", "blocks"),
    [
        ("192.0.2.7", ["192.0.2.0/24", "192.0.0.0/16"]),
        ("2001:db8:1:2:3::4", ["2001:db8:1:2::/64", "2001:db8:1::/56", "2001:db8:1::/48", "2001:db8::/32"]),
        ("2001:db8:1:ab12::4", ["2001:db8:1:ab12::/64", "2001:db8:1:ab00::/56", "2001:db8:1::/48", "2001:db8::/32"]),
        ("::ffff:192.0.2.7", ["192.0.2.0/24", "192.0.0.0/16"]),
        ("2002:c000:207:1::4", ["192.0.2.0/24", "192.0.0.0/16"]),
        ("64:ff9b::192.0.2.7", ["192.0.2.0/24", "192.0.0.0/16"]),
        ("2001:0:cb00:7101:0:ffff:3fff:fdf8", ["192.0.2.0/24", "192.0.0.0/16"]),
        ("64:ff9b:1::192.0.2.7", ["64:ff9b:1::/64", "64:ff9b:1::/56", "64:ff9b:1::/48", "64:ff9b::/32"]),
    ],
)
def test_an_address_counts_as_several_blocks(address: str, blocks: list[str]) -> None:
    """IPv4 as its /24 and /16, however IPv6 writes it; IPv6 as its /64, /56, /48 and /32."""
    assert [block.name for block in OF(address)] == blocks


def test_what_a_caller_writes_is_not_kept() -> None:
    """Of lists of hops only short ones are remembered, so what thousands of callers send takes no memory."""
    networks = Networks([ip_network("10.0.0.0/8")])
    one, padding = networks.of("10.0.0.1", [b"192.0.2.7"]), b"x" * 30_000
    tracemalloc.start()
    seen = [networks.of("10.0.0.1", [b"%d" % number + padding, b"192.0.2.7"]) for number in range(1_000)]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == [one] * 1_000
    assert kept < 5_000_000


@pytest.mark.parametrize("is_away", [False, True])
async def test_who_owns_many_networks_gets_few_shares(limits: Limits, is_away: bool) -> None:
    """A /48 gets four times what a /64 gets, not 65,536 times, and others keep theirs; by Valkey's counts and by our own."""
    if is_away:
        limits._stand_in(OSError())
    networks = [OF(f"2001:db8:7:{number:x}::1") for number in range(0, 0x4000, 0x100)]
    claims = [limits.take(*TEN.counters(network)) for network in networks for _ in range(3)]
    found = await asyncio.gather(*claims, return_exceptions=True)
    assert sum(isinstance(answer, tuple) for answer in found) == 40
    assert await limits.take(*TEN.counters(OF("2001:db8:8::1")))


async def test_one_process_alone_decides_as_valkey_does(limits: Limits) -> None:
    """Random claims on a few counters are granted and refused alike, with the same rest and within a slice the same wait."""
    random_ = random.Random(5)
    known = [Limit("three", 3, 60, "writes"), Limit("five", 5, 600, "writes"), Limit("nine", 9, 3600, "writes")]
    local = LocalCounts()
    for _ in range(120):
        counters = [(limit, random_.choice("ab")) for limit in random_.sample(known, random_.randint(1, 3))]
        here = local.decide([Bound(f"{limit.item} {owner}", limit.most, limit.seconds * 1000) for limit, owner in counters])
        try:
            headers = await limits.take(*counters)
        except TooManyRequests as refused:
            assert here.wait
            headers = refused.headers
        else:
            assert not here.wait
        assert f";r={here.remaining};t=" in dict(headers)[b"ratelimit"].decode()


async def test_our_own_lateness_is_not_valkeys(limits: Limits) -> None:
    """A loop that is busy for longer than Valkey is given still reads its answer, and nothing stands in for it."""
    claim = asyncio.ensure_future(limits.take(*TEN.counters(OF("192.0.2.7"))))
    await asyncio.sleep(0)
    time.sleep(1.5)  # noqa: ASYNC251 - that is the lateness
    assert await claim
    assert await limits.check().ask() is None


def test_places_are_shared_and_given_back() -> None:
    """No network takes more than its share, no block more than a few shares, and what is left can be taken again."""
    places = Places(100, 10)
    one, other = OF("192.0.2.7"), OF("198.51.100.7")
    assert [places.take(one) for _ in range(12)] == [True] * 10 + [False] * 2
    assert places.take(other)
    places.leave(one)
    assert places.take(one) and not places.take(one)
    near = [OF(f"192.0.{number}.7") for number in range(3, 60)]
    assert sum(places.take(network) for network in near for _ in range(2)) == 70


class Views:
    """A database that says how far the views are, and how often it was asked."""

    def __init__(self, lowest: int, head: int) -> None:
        self.lowest, self.head, self.asked = lowest, head, 0

    async def fetch(self, query: str) -> list[dict[str, int]]:
        """Answer, after a moment."""
        self.asked += 1
        await asyncio.sleep(0.01)
        return [{"lowest": self.lowest, "head": self.head, "follows": False}]


async def test_one_look_serves_all_who_wait() -> None:
    """However many wait, one statement at a time is asked; a position above the head is refused by the first of them."""
    views: Any = Views(lowest=5, head=9)
    progress = ViewProgress(views)
    with pytest.raises(ViewsBehind):
        await progress.reach(10)
    assert views.asked == 1
    networks = [OF(f"10.{number}.0.1") for number in range(50)]
    waiting = [asyncio.ensure_future(progress.reach(8, network)) for network in networks for _ in range(10)]
    await asyncio.sleep(0.2)
    assert views.asked < 30
    views.lowest = 8
    progress.wake()
    await asyncio.gather(*waiting)
    assert await progress.reach(8) is None


async def test_waiting_has_places() -> None:
    """A network has a share of the places to wait in, and all of them have an end."""
    views: Any = Views(lowest=5, head=9)
    progress = ViewProgress(views)
    one = [asyncio.ensure_future(progress.reach(9, OF("192.0.2.7"))) for _ in range(NETWORK_WAITERS)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyWait):
        await progress.reach(9, OF("192.0.2.8"))
    others = [
        asyncio.ensure_future(progress.reach(9, OF(f"10.{number // 200}.{number % 200}.1"))) for number in range(MOST_WAITERS)
    ]
    found = await asyncio.gather(*one, *others, return_exceptions=True)
    assert Counter(type(error).__name__ for error in found) == {"ViewsBehind": MOST_WAITERS, "TooManyWait": NETWORK_WAITERS}


OPEN_WRITES = sorted(
    (next(iter(route.http_methods)), path)
    for route in [*ROUTES, *PAGES]
    for path in route.paths
    if "GET" not in route.http_methods and not path.startswith(("/v1/ops/", "/ops/")) and path != "/v1/visitors"
)


async def test_every_write_is_counted(dsn: str, valkey_url: str) -> None:
    """Of every route that writes, whoever may call it, the network's writes are counted before anything is read.

    `/v1/visitors` writes nothing, and has a limit of its own.
    """
    token = VisitorTokens((SECRET_KEY,)).issue("AaIVsTR5fmSaI9BzfiWzhA")
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": f"ballotpress_visitor={token}"}
    async with client(settings(dsn, valkey_url, network_writes_per_minute=1)) as http:
        await http.post("/v1/newsletter/confirm", json={})
        for method, path in OPEN_WRITES:
            asked = Route(method, path).address()
            answer = await http.request(method, asked, content=b"", headers=headers)
            assert answer.status_code == 429, (method, asked, answer.text)
            assert "ratelimit" in answer.headers
    assert len(OPEN_WRITES) > 20


@pytest.fixture(scope="module")
def site(
    postgres: servers.Postgres, template: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A site with small limits that sees its callers through a proxy."""
    asyncio.run(servers.execute(postgres.dsn(), f"create database of_shares template {template}"))
    small = {
        "BALLOTPRESS_TRUSTED_PROXIES": "127.0.0.0/8",
        "BALLOTPRESS_NETWORK_VIEWERS": "3",
        "BALLOTPRESS_CHANGES_PER_DAY": "5",
        "BALLOTPRESS_FIRST_VOTES_PER_HOUR": "4",
        "BALLOTPRESS_REVIEWS_PER_HOUR": "2",
        "BALLOTPRESS_NETWORK_WRITES_PER_MINUTE": "1000",
    }
    with serving(postgres.dsn("of_shares"), valkey_url, tmp_path_factory.mktemp("api") / "output", **small) as made:
        yield made


@pytest.fixture(scope="module")
def tool(site: Site) -> str:
    """A listed tool."""
    return site.add_tool()


def from_(address: str) -> dict[str, str]:
    """Give the header by which a caller seems to come from an address."""
    return {"X-Forwarded-For": address}


def vote(who: Caller, tool: str, choice: str, address: str) -> int:
    """Vote from an address, once what was counted before is known; give the status."""
    time.sleep(0.05)
    return who.put(f"/v1/tools/{tool}/vote", {"choice": choice}, from_(address)).status_code


def test_a_ballot_may_be_changed_so_often_a_day(site: Site, tool: str) -> None:
    """A first vote and five changes are taken, more is 429 for this ballot alone; repeating a choice counts nothing."""
    me = site.visitor()
    flips = [vote(me, tool, "ship" if number % 2 else "skip", "192.0.2.1") for number in range(8)]
    assert flips == [200] * 6 + [429] * 2
    assert vote(site.visitor(), tool, "ship", "192.0.2.1") == 200


def test_first_votes_on_a_tool_are_shared(site: Site) -> None:
    """Four visitors of one /64 may vote on a tool in an hour, sixteen of its /48; other tools and networks are free."""
    tool, other = site.add_tool(), site.add_tool()
    near = [vote(site.visitor(), tool, "ship", "2001:db8:1:1::1") for _ in range(5)]
    assert near == [200] * 4 + [429]
    wide = [vote(site.visitor(), tool, "ship", f"2001:db8:1:{n:x}00::1") for n in range(2, 20)]
    assert wide.count(200) == 12
    assert vote(site.visitor(), other, "ship", "2001:db8:1:1::1") == 200
    assert vote(site.visitor(), tool, "ship", "2001:db8:2:1::1") == 200


def test_reviews_that_wait_are_shared(site: Site, tool: str) -> None:
    """A network may submit two reviews an hour here; an edit counts as one too."""
    body = {"verdict": "ship", "body": "Twenty characters or a few more."}
    me = site.visitor()
    made = me.post(f"/v1/tools/{tool}/reviews", body, from_("192.0.2.9"))
    edited = me.patch(f"/v1/reviews/{made.json()['id']}", {"score": 3}, from_("192.0.2.9"))
    third = site.visitor().post(f"/v1/tools/{tool}/reviews", body, from_("192.0.2.9"))
    assert (made.status_code, edited.status_code, third.status_code) == (202, 200, 429)


def test_one_network_does_not_take_all_places_of_viewers(site: Site, tool: str) -> None:
    """The fourth stream of a network is 503, another network's is served, and a place left is free again."""
    path = f"/v1/tallies/live?tool={tool}"
    base = str(site.client.base_url)
    with calling.Client(base_url=base, timeout=PATIENCE) as http:
        streams = [http.stream("GET", path, headers=from_("203.0.113.5")) for _ in range(3)]
        assert [stream.__enter__().status_code for stream in streams] == [200] * 3
        assert http.get(path, headers=from_("203.0.113.6")).status_code == 503
        with http.stream("GET", path, headers=from_("198.51.100.5")) as served:
            assert served.status_code == 200
        streams[0].__exit__(None, None, None)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with http.stream("GET", path, headers=from_("203.0.113.7")) as again:
                if again.status_code == 200:
                    break
            time.sleep(0.1)
        else:
            pytest.fail("no place became free")
        for stream in streams[1:]:
            stream.__exit__(None, None, None)


def test_wrong_operators_tokens_are_counted(site: Site) -> None:
    """Wrong tokens are 401 until a network's share is used up, then 429, the right one too; others go on, metrics tell."""
    seen = []
    for _ in range(53):
        wrong = {"Authorization": "Bearer wrong-token-of-an-operator", **from_("203.0.113.77")}
        seen.append(site.anyone.call("GET", "/v1/ops/status", headers=wrong).status_code)
        time.sleep(0.01)
    assert set(seen) == {401, 429} and 45 <= seen.count(401) <= 52
    assert site.operator.get("/v1/ops/status", from_("203.0.113.78")).status_code == 429
    assert site.operator.get("/v1/ops/status", from_("198.51.100.78")).status_code == 200
    sign_in = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    answer = site.client.post("/ops/sign-in", content=b"token=a-guess", headers={**sign_in, **from_("203.0.113.79")})
    assert answer.status_code == 429
    assert f"ballotpress_wrong_operator_tokens_total {seen.count(401)}.0" in site.anyone.get("/metrics").text


def test_a_position_that_cannot_be_is_refused(site: Site) -> None:
    """`after` above the log's head is 503 with Retry-After, as for views that are late."""
    answer = site.anyone.get("/v1/tools", after=9_000_000_000_000_000_000)
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/views-behind")
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("hook", ["ses", "generic"])
async def test_a_hook_that_nobody_set_up_is_not_there(dsn: str, valkey_url: str, hook: str) -> None:
    """Where no provider is configured its hook is 404, whatever is sent."""
    async with client(settings(dsn, valkey_url)) as made:
        answer = await made.post(f"/v1/webhooks/mail/{hook}", content=b'{"a":' * 2000)
    assert answer.status_code == 404
