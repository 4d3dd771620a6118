"""Where a webhook may go: no address of this machine or its networks, however it is written."""

from ipaddress import ip_address

import pytest

from services.webhooks.target import TargetRefused, may_connect, read_target

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.8.8.8 168.63.129.16 169.254.169.254 172.16.0.1
192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::7f00:1 64:ff9b::808:808
64:ff9b:1::1 100::1 2001::1 2001:0:53aa:64c:0:fbff:f5ff:fff6 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 fc00::1
fd00:ec2::254 fe80::1 fec0::1 ff02::1 5f00::1 4000::1
""".split()  # noqa: SIM905 - by the line
PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:829::200e")


@pytest.mark.parametrize("address", PRIVATE)
def test_no_connection_goes_to_an_address_that_is_not_public(address: str) -> None:
    """Private, loopback, link-local, carrier's, unique local, multicast, and what holds an IPv4 address: all are refused."""
    assert not may_connect(ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(TargetRefused, match="public"):
        read_target(f"https://{host}/hook")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_will_do(address: str) -> None:
    """Addresses of the public internet are not refused."""
    assert may_connect(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "https:///hook", "https://", "example.com", "https://user:pw@example.com/",
        "https://user@example.com/", "https://example.com/#part", "https://example.com/#", "https://example.com:22/",
        "https://example.com:80/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:x/",
        "https://intranet/", "https://localhost/", "https://exa mple.com/", "https://example.com/\r\nx: y", "https://[::1/",
        "https://[fe80::1%25eth0]/", "https://-.example/", "https://example.com/ü", "https://example.com/" + "x" * 500, "",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_webhook_is_refused(url: str) -> None:
    """Another scheme, a name and password, a fragment, an odd port, a host without a dot, a control character."""
    with pytest.raises(TargetRefused):
        read_target(url)


def test_an_address_is_taken_apart() -> None:
    """Host in ASCII, the port of https, path and query as they are sent."""
    target = read_target("https://bücher.example/a/b?c=d%20e")
    assert (target.host, target.port, target.path) == ("xn--bcher-kva.example", 443, "/a/b?c=d%20e")
    assert target.origin == "https://xn--bcher-kva.example"
    assert read_target("https://example.com:8443").path == "/"


def test_http_goes_to_this_machine_alone_and_only_where_that_is_allowed() -> None:
    """With the setting for tests, http is for loopback; a stranger's address stays https."""
    assert read_target("http://127.0.0.1:8080/x", allow_loopback=True).port == 8080
    for url in ("http://example.com/", "http://10.0.0.1:8080/", "https://10.0.0.1/"):
        with pytest.raises(TargetRefused):
            read_target(url, allow_loopback=True)
