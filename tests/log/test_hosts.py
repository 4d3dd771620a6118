"""The hosts of a URL are read as libpq reads them, and what can't be used is refused in one sentence."""

import pytest

from events.log import hosts
from events.log.hosts import Host, HostsMalformed
from services.urls import UrlError, read_database_url


@pytest.mark.parametrize(
    ("dsn", "found"),
    [
        ("postgresql:///d", ()),
        ("postgresql://u@h/d", (Host("h"),)),
        ("postgresql://u:p@a,b:6432/d", (Host("a"), Host("b", 6432))),
        ("postgresql://u:p%40%2C@a:1,b:2/d?target_session_attrs=primary", (Host("a", 1), Host("b", 2))),
        ("postgresql://[::1]:1,[fe80::1]/d", (Host("::1", 1), Host("fe80::1"))),
        ("postgresql://%2Frun%2Fx,b/d", (Host("/run/x"), Host("b"))),
        ("postgresql:///d?host=/run/x,/run/y&port=5432", (Host("/run/x", 5432), Host("/run/y", 5432))),
        ("postgresql:///d?host=a,b&port=1,2", (Host("a", 1), Host("b", 2))),
        ("postgresql:///d?host=a:1,b", (Host("a", 1), Host("b"))),
        ("postgresql://a/d?host=b&port=9", (Host("a"),)),
        ("postgresql://a,a/d", (Host("a"),)),
    ],
)
def test_hosts_stand_in_their_order(dsn: str, found: tuple[Host, ...]) -> None:
    """Names, addresses and folders, with one port or one for each, wherever the URL has them."""
    assert hosts.of(dsn) == found


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://a,,b/d", "names a host that is empty: is there a comma too many?"),
        ("postgresql://a,/d", "names a host that is empty: is there a comma too many?"),
        ("postgresql://a:x,b/d", "names a port that isn't a number from 1 to 65535"),
        ("postgresql://a:0,b/d", "names a port that isn't a number from 1 to 65535"),
        ("postgresql://a:65536/d", "names a port that isn't a number from 1 to 65535"),
        ("postgresql:///d?host=a,b&port=1,2,3", "names 2 hosts and 3 ports: give one port, or one for each host"),
        ("postgresql://a,b/d?target_session_attrs=standby", "asks for target_session_attrs=standby: votes are written"),
        ("postgresql://a,b/d?port=1,2", "names ports apart from its hosts"),
        ("postgresql://u:p@a..b,c/d", "names a host that can be none"),
        (f"postgresql:///d?host={'x' * 64}.example", "names a host that can be none"),
        ("postgresql://a,b/d?target_session_attrs=rw", "asks for target_session_attrs=rw: votes are written"),
    ],
)
def test_what_can_not_be_used_is_refused(url: str, sentence: str) -> None:
    """A URL that asyncpg would stumble over when the first failover comes is refused at the start, without repeating it."""
    with pytest.raises(UrlError) as refused:
        read_database_url(url)
    assert str(refused.value).startswith(sentence)


def test_several_hosts_mean_the_one_that_takes_writes() -> None:
    """Also without `target_session_attrs`: whatever else it asked for, nobody could vote at a standby."""
    assert hosts.read("postgresql://a,b/d").must_search
    assert hosts.read("postgresql://a/d?target_session_attrs=read-write").must_search
    assert not hosts.read("postgresql://a/d").must_search
    assert not hosts.read("postgresql:///d").must_search


def test_one_host_of_a_url_has_a_url() -> None:
    """The rest of it stays: user, password, database, options."""
    given = "postgresql://u:p%40@a,b:6432/d?target_session_attrs=primary&sslmode=require"
    first, second = (hosts.one(given, host) for host in hosts.of(given))
    assert first == "postgresql://u:p%40@/d?sslmode=require&host=a"
    assert hosts.of(second) == (Host("b", 6432),) and not hosts.read(second).must_search


def test_one_address_of_ipv6_stands_in_brackets() -> None:
    """After `host=` asyncpg would take what follows its first colon for a port, and go to this machine."""
    given = "postgresql://u:p%40@[2001:db8::1]:6432,[::1],b/d?sslmode=require"
    first, second, _ = (hosts.one(given, host) for host in hosts.of(given))
    assert first == "postgresql://u:p%40@[2001:db8::1]:6432/d?sslmode=require"
    assert second == "postgresql://u:p%40@[::1]/d?sslmode=require"


def test_a_name_in_a_sentence() -> None:
    """Hosts are told with their ports."""
    assert [str(host) for host in (Host("a"), Host("a", 1), Host("::1", 2), Host("/run/x", 5432))] == [
        "a", "a:1", "[::1]:2", "/run/x:5432",
    ]  # fmt: skip
    with pytest.raises(HostsMalformed):
        hosts.of("postgresql://,/d")
