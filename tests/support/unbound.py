"""Debian's unbound as a resolver on loopback, which answers for one zone of the test and forwards nothing."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from services.setting_groups import DnsServer
from tests.support.nameserver import Zone
from tests.support.processes import free_port, wait_for

PROGRAM = Path("/usr/sbin/unbound")

CONFIG = """
server:
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    do-daemonize: no
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    logfile: "{folder}/log"
    module-config: "iterator"
    num-threads: 1
    local-zone: "." transparent
    local-data: ". 300 IN NS a.root.example."
    local-zone: "example." static
    local-zone: "com." static
    local-zone: "2.0.192.in-addr.arpa." static
{data}
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{nowhere}
"""


@contextmanager
def unbound(folder: Path, zone: Zone) -> Iterator[DnsServer]:
    """Run a resolver that knows a zone; skip the test where there is no unbound."""
    if not PROGRAM.exists():
        pytest.skip("needs Debian's unbound")
    server = DnsServer("127.0.0.1", free_port())
    config = folder / "unbound.conf"
    config.write_text(CONFIG.format(port=server.port, folder=folder, data=_data(zone), nowhere=free_port()))
    process = subprocess.Popen([PROGRAM, "-d", "-c", config], stderr=subprocess.PIPE, text=True)
    try:
        assert wait_for(lambda: _answers(server, process))
        yield server
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _data(zone: Zone) -> str:
    return "\n".join(f"    local-data: '{name}. 300 IN {kind} {record}'" for name, kind, record in _lines(zone))


def _lines(zone: Zone) -> Sequence[tuple[str, str, str]]:
    return [(name, kind, record) for (name, kind), records in zone.items() for record in records]


def _answers(server: DnsServer, process: "subprocess.Popen[str]") -> bool:
    if process.poll() is not None:
        raise AssertionError(f"unbound has ended: {process.communicate()[1]}")
    try:
        dns.query.udp(dns.message.make_query("example.", "SOA"), server.address, 1, server.port)
    except (OSError, dns.exception.DNSException):
        return False
    return True
