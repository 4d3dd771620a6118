"""A site that reads at replicas serves every page there, shows voters their own votes, and goes on whatever becomes of one."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import calling
from tests.support.http import Site
from tests.support.processes import PATIENCE, wait_for
from tests.support.replicas import Cluster, Replica, frozen
from tests.support.routes import all_routes
from tests.support.shell import Shell
from tests.support.streams import streaming

pytestmark = pytest.mark.postgres


def reads(site: Site, of: str) -> int:
    """Give how many statements of public reads a server was asked."""
    found = re.search(rf'ballotpress_reads_total{{of="{of}"}} ([0-9.]+)', site.anyone.get("/metrics").text)
    assert found is not None
    return int(float(found[1]))


def used(site: Site, cluster: Cluster) -> Replica | None:
    """Give the replica that the API reads from now."""
    names = [one["name"] for one in site.operator.get("/v1/ops/status").json()["replicas"] if one["used"]]
    return next((one for one in cluster.replicas if names and names[0].startswith(str(one.folder))), None)


@pytest.fixture
def cluster(servers_at_hand: Cluster, site: Site) -> Cluster:
    """The servers as they should be, and the API reads at a replica."""
    asyncio.run(servers_at_hand.mend())
    assert wait_for(lambda: used(site, servers_at_hand))
    assert wait_for(lambda: "replicas" not in str(site.anyone.get("/health/ready").json().get("reasons")))
    return servers_at_hand


def pause(cluster: Cluster) -> None:
    """Hold up both replicas."""
    for replica in cluster.replicas:
        asyncio.run(replica.says("select pg_wal_replay_pause()"))


@contextmanager
def reading(site: Site, *paths: str) -> Iterator[list[int]]:
    """Read pages over and over, as one reader does; give the totals that the first of them showed."""
    totals: list[int] = []
    wrong: list[object] = []
    is_over = threading.Event()

    def read() -> None:
        with calling.Client(base_url=site.client.base_url, timeout=PATIENCE) as client:
            while not is_over.is_set():
                answers = [client.get(path) for path in paths]
                wrong.extend((answer.url, answer.status_code, answer.text) for answer in answers if answer.status_code != 200)
                totals.append(answers[0].json()["community"]["total"])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield totals
    finally:
        is_over.set()
        thread.join()
    assert not wrong
    assert totals == sorted(totals)


def goes_on(totals: list[int]) -> None:
    """Wait until a reader has read some more."""
    wanted = len(totals) + 5
    assert wait_for(lambda: len(totals) >= wanted)


def test_every_read_of_the_public_can_be_done_at_a_replica(site: Site, cluster: Cluster) -> None:
    """No route's reading writes, locks or needs a table of its own: nothing is asked again at the primary."""
    tool, other = site.add_tool(), site.add_tool()
    addresses = [route.address(tool=tool, pair=f"{tool}-vs-{other}") for route in all_routes() if route.method == "GET"]
    assert wait_for(lambda: used(site, cluster))
    again, before = reads(site, "again"), reads(site, "replica")
    visitor = site.visitor()
    visitor.vote(tool, "ship")
    for caller in (site.anyone, visitor, site.operator):
        for address in addresses:
            if address not in ("/v1/tallies/live", "/v1/ops/events/stream"):
                assert caller.get(address).status_code != 500, address
    assert reads(site, "replica") > before + len(addresses)
    assert reads(site, "again") == again


def test_voters_see_their_own_votes(site: Site, cluster: Cluster) -> None:
    """With `after`, at a replica that follows and beside replicas that are held up; the own choice always."""
    tool = site.add_tool()
    for number in range(1, 9):
        if number == 5:
            pause(cluster)
        visitor = site.visitor()
        position = visitor.vote(tool, "ship")
        assert visitor.get(f"/v1/tools/{tool}/vote").json()["choice"] == "ship"
        seen = visitor.get(f"/v1/tools/{tool}", after=position)
        assert (seen.status_code, seen.json()["community"]["total"]) == (200, number)
        assert f">{number}<" in visitor.get(f"/tools/{tool}", after=position).text.replace("\n", "")
        assert site.anyone.get(f"/v1/tools/{tool}").json()["community"]["total"] == number


def test_a_position_that_no_log_has_changes_nothing(site: Site, cluster: Cluster) -> None:
    """A guess doesn't send everybody's reads to the primary."""
    assert site.anyone.get("/v1/categories", after=10**15).status_code == 503
    assert used(site, cluster)


def test_readers_go_forward_while_replicas_come_and_go(site: Site, cluster: Cluster, shell: Shell) -> None:
    """Killed, frozen, held up, promoted, and views switched meanwhile: each answer is whole, and none older than one before."""
    tool = site.add_tool()
    paths = (f"/v1/tools/{tool}", f"/tools/{tool}", "/v1/tools", "/", f"/v1/tools/{tool}/tally", "/sitemap.xml")
    with reading(site, *paths) as totals:
        for harm in ("kill", "freeze", "hold up", "replay", "promote"):
            replica = wait_for(lambda: used(site, cluster))
            assert replica is not None
            site.visitor().vote(tool, "ship")
            _harm(harm, replica, shell, totals)
            site.visitor().vote(tool, "skip")
            goes_on(totals)
            asyncio.run(cluster.mend())
        assert wait_for(lambda: used(site, cluster))
        goes_on(totals)
    assert site.anyone.get(f"/v1/tools/{tool}").json()["community"]["total"] == 10
    status = site.operator.get("/v1/ops/status").json()
    assert status["rewind"] is None and status["ledger"]["paused_at"] is None


def _harm(how: str, replica: Replica, shell: Shell, totals: list[int]) -> None:
    """Do a replica some harm, and see that reads go on."""
    if how == "freeze":
        with replica.frozen():
            goes_on(totals)
    elif how == "replay":
        shell("replay", "cards", status=0)
    elif how == "hold up":
        asyncio.run(replica.says("select pg_wal_replay_pause()"))
    elif how == "promote":
        asyncio.run(replica.promote())
    else:
        replica.kill()
    goes_on(totals)


def test_pages_are_served_while_the_primary_is_away(site: Site, cluster: Cluster) -> None:
    """What replicas have is read on; votes are refused meanwhile, and taken again afterwards."""
    tool = site.add_tool()
    site.visitor().vote(tool, "ship")
    voter = site.visitor()
    assert wait_for(lambda: site.anyone.get(f"/v1/tools/{tool}").json()["community"]["total"] == 1)
    assert wait_for(lambda: used(site, cluster))
    serving = used(site, cluster)
    assert serving is not None
    with frozen(cluster.primary_pid()):
        for path in (f"/v1/tools/{tool}", f"/tools/{tool}", "/v1/tools?sort=community", "/leaderboard", "/sitemap.xml"):
            assert site.anyone.get(path).status_code == 200, path
        assert voter.put(f"/v1/tools/{tool}/vote", {"choice": "ship"}).status_code == 503
        assert site.anyone.get("/health/ready").json()["status"] == "degraded"
        assert site.anyone.get("/v1/categories", after=10**15).status_code == 503
        with serving.frozen():
            assert wait_for(lambda: site.anyone.get(f"/v1/tools/{tool}").status_code == 200)
    assert wait_for(lambda: voter.put(f"/v1/tools/{tool}/vote", {"choice": "ship"}).status_code == 200)


def test_viewers_are_told_by_a_replica(site: Site, cluster: Cluster) -> None:
    """The live stream tells of a vote soon, though wake-ups come from the primary before the replica has it."""
    tool = site.add_tool()
    with streaming(str(site.client.base_url), tool) as stream:
        assert stream.next().data["total"] == 0
        site.visitor().vote(tool, "ship")
        assert stream.next().data["total"] == 1


def test_an_operator_is_told_of_each_replica(site: Site, cluster: Cluster, shell: Shell) -> None:
    """How far it is behind, who reads there, and why it is left out: in `status`, health, metrics and the overview."""
    replica = wait_for(lambda: used(site, cluster))
    assert replica is not None
    name = f"{replica.folder}:5432"
    assert wait_for(lambda: f"replica {name}, 0 events (0.0 s) behind; read by 1 process" in shell("status").out)
    assert wait_for(lambda: f'ballotpress_replica_used{{replica="{name}"}} 1.0' in site.anyone.get("/metrics").text)
    replica.kill()
    assert wait_for(lambda: f"{name} isn't read from: it can't be reached" in site.anyone.get("/health/ready").text)
    assert f"The replica {name} isn't read from: it can't be reached" in shell("status", status=1).out
    assert f"The replica {name} isn't read from" in str(site.operator.get("/v1/ops/status").json()["problems"])
    metrics = site.anyone.get("/metrics").text
    assert f'ballotpress_replica_wrong{{replica="{name}"}} 1.0' in metrics
    assert f'ballotpress_replica_lag_events{{replica="{name}"}}' not in metrics


def test_a_shell_looks_at_both_replicas(cluster: Cluster, shell: Shell) -> None:
    """`status` asks the primary about each replica in turn, and says of both that nothing keeps anybody from them."""
    assert shell("status").out.count(" behind; read by ") == len(cluster.replicas)
