"""A DNS server on loopback, by UDP and TCP, that says what a test tells it to: the truth of its records, or lies."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from services.setting_groups import DnsServer
from tests.support.processes import PATIENCE, free_port

Zone = dict[tuple[str, str], list[str]]
"""The records of a name and a kind, as a zone file writes them."""
Lie = Callable[[dns.message.Message, bool], dns.message.Message | bytes | None]
"""What to answer to a query, which came by TCP or not: a message, bytes, or None for silence."""


class Nameserver:
    """Answers from `zone`, where a CNAME is followed, unless `lies` has the name. `asked` keeps what was asked."""

    def __init__(self) -> None:
        self.zone: Zone = {}
        self.lies: dict[str, Lie] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.port = free_port()

    @property
    def server(self) -> DnsServer:
        """Where it is asked."""
        return DnsServer("127.0.0.1", self.port)

    def answer(self, wire: bytes, by_tcp: bool) -> bytes | None:
        """Return the bytes that answer a query's."""
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, dns.rdatatype.to_text(question.rdtype), "tcp" if by_tcp else "udp"))
        said = self.lies.get(name, self._truth)(query, by_tcp)
        if isinstance(said, dns.message.Message):
            return said.to_wire(max_size=65535) if by_tcp else _fitting(said, query.payload or 512)
        return said

    def _truth(self, query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        for _ in range(20):
            if found := self.zone.get((name, kind)):
                response.answer.append(_rrset(name, kind, found))
                return response
            if (alias := self.zone.get((name, "CNAME"))) is None:
                break
            response.answer.append(_rrset(name, "CNAME", alias))
            name = alias[0].rstrip(".").lower()
        if name != "." and not any(owner == name or owner.endswith(f".{name}") for owner, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


def _rrset(name: str, kind: str, records: list[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text(f"{name}.", 300, "IN", kind, *records)


def _fitting(message: dns.message.Message, payload: int) -> bytes:
    try:
        return message.to_wire(max_size=payload)
    except dns.exception.TooBig:
        message.answer.clear()
        message.flags |= dns.flags.TC
        return message.to_wire()


def saying(rcode: dns.rcode.Rcode) -> Lie:
    """Return a lie that is a refusal."""

    def refuse(query: dns.message.Message, by_tcp: bool) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return response

    return refuse


def silent(query: dns.message.Message, by_tcp: bool) -> None:
    """Say nothing."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, nameserver: Nameserver) -> None:
        self._nameserver = nameserver

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (said := self._nameserver.answer(data, by_tcp=False)) is not None:
            self._transport.sendto(said, addr)


@contextmanager
def nameserver() -> Iterator[Nameserver]:
    """Run a DNS server in a thread of its own, so that other processes of the test may ask it too."""
    ours = Nameserver()
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            if (said := ours.answer(wire, by_tcp=True)) is not None:
                writer.write(len(said).to_bytes(2, "big") + said)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked has gone
        finally:
            writer.close()

    async def open_both() -> tuple[asyncio.DatagramTransport, asyncio.Server]:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(ours), ("127.0.0.1", ours.port))
        return transport, await asyncio.start_server(serve, "127.0.0.1", ours.port)

    async def close_both() -> None:
        transport.close()
        server.close()
        await server.wait_closed()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        transport, server = asyncio.run_coroutine_threadsafe(open_both(), loop).result(PATIENCE)
        yield ours
        asyncio.run_coroutine_threadsafe(close_both(), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
