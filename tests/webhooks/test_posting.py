"""A webhook's server may do what it likes: nothing of it keeps us, reaches inside, or is followed."""

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.clock import now
from services.webhooks import posting
from services.webhooks.posting import Poster
from tests.support.processes import PATIENCE
from tests.support.receiver import Receiver, receiving

pytestmark = pytest.mark.server


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with receiving() as made:
        yield made


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give an honest server all the time that a busy machine needs."""
    monkeypatch.setattr(posting, "DEADLINE", PATIENCE)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a second stand for ten."""
    monkeypatch.setattr(posting, "DEADLINE", 1.0)


async def test_a_message_arrives_as_it_was_made(receiver: Receiver) -> None:
    """Body and headers are those given, and any 2xx says that it was taken."""
    reply = await Poster(allow_loopback=True).post(receiver.url(), {"webhook-id": "msg_1"}, b'{"a":1}')
    assert (reply.failed, reply.status) == (None, 204)
    (received,) = receiver.received
    assert received.body == b'{"a":1}' and received.headers["webhook-id"] == "msg_1"
    assert received.headers["content-type"] == "application/json" and received.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("kind", "why"), [("silent", "longer than"), ("drips", "longer than"), ("informs", "longer than|broke off")]
)
@pytest.mark.usefixtures("soon")
async def test_a_server_that_takes_its_time_is_a_failure_within_the_deadline(receiver: Receiver, kind: str, why: str) -> None:
    """Silence, a drop at a time, one notice after another: each is a failure with its reason, in time."""
    began = time.monotonic()
    await must_fail(receiver, kind, why)
    assert time.monotonic() - began < PATIENCE  # the deadline is a second; without one it would take for ever


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("heads", "broke off"),
        ("babbles", "broke off"),
        ("empty", "broke off"),
        ("fails", "answered 500"),
        ("redirects", "answered 302, and no redirect is followed"),
        ("gone", "410"),
    ],
)
async def test_a_bad_answer_is_a_failure_with_its_reason(receiver: Receiver, kind: str, why: str) -> None:
    """A head without end, nonsense, nothing at all, a redirect, a refusal."""
    await must_fail(receiver, kind, why)


async def must_fail(receiver: Receiver, kind: str, why: str) -> None:
    """Post to a bad server, which must be tried once and fail for one of these reasons."""
    reply = await Poster(allow_loopback=True).post(receiver.url(kind), {}, b"{}")
    assert reply.failed is not None and any(part in reply.failed for part in why.split("|")), reply
    assert receiver.connections == 1


async def test_an_endless_answer_is_cut(receiver: Receiver) -> None:
    """Of a body without end a few kilobytes are taken; the status counts."""
    reply = await Poster(allow_loopback=True).post(receiver.url("endless"), {}, b"{}")
    assert (reply.failed, reply.status) == (None, 200)
    await asyncio.sleep(0.2)
    before = receiver.sent
    await asyncio.sleep(0.2)
    assert receiver.sent == before


async def test_a_server_says_when_to_come_back(receiver: Receiver) -> None:
    """Retry-After is read, in seconds and as a date; nonsense is nothing."""
    assert (await Poster(allow_loopback=True).post(receiver.url("waits"), {}, b"{}")).retry_after == 7200
    at = now() + timedelta(hours=1)
    said = posting._retry_after({b"Retry-After": at.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()})
    assert said is not None and 3590 < said <= 3600
    no_dates = (
        b"Mon, 01 Jan 99999999999 00:00:00 GMT",
        b"Mon, 01 Jan 2026 99999999999:00:00 GMT",
        b"1 Jan 2026 0:0 +" + b"9" * 14,
    )
    for nonsense in (b"soon", b"-1", b"1e9", b"9" * 400, "٣".encode(), b"", *no_dates):
        assert posting._retry_after({b"Retry-After": nonsense}) is None


async def test_a_name_is_looked_up_once_and_the_address_that_was_checked_is_called(receiver: Receiver) -> None:
    """A name server that gives a public address first and a private one afterwards reaches nothing: there is no afterwards."""
    asked: list[str] = []

    def turns(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) % 2 else ["10.0.0.1"]

    poster = Poster(allow_loopback=True, resolve=turns)
    url = f"http://localhost:{receiver.port}/ok"
    assert (await poster.post(url, {}, b"{}")).failed is None
    assert asked == ["localhost"]
    assert (await poster.post(url, {}, b"{}")).failed == "its name leads to an address that isn't public"
    assert receiver.connections == 1


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["fe80::1%lo"], []]
)
async def test_a_name_that_leads_inside_is_not_called(receiver: Receiver, addresses: list[str]) -> None:
    """If any address of a name isn't public, none of them is called; one with a zone, or none at all, is no address."""
    reply = await Poster(resolve=lambda host, port: addresses).post(f"https://hook.example:{receiver.port}/", {}, b"{}")
    assert reply.failed is not None and reply.failed.startswith("its name leads to")
    assert receiver.connections == 0


async def test_numbers_in_disguise_lead_nowhere(receiver: Receiver) -> None:
    """An address written as one number, in octal or in hexadecimal is looked up by the machine, and refused by what it is."""
    for host in ("0x7f.1", "0177.0.0.1", "127.0.1"):
        reply = await Poster().post(f"https://{host}:{receiver.port}/", {}, b"{}")
        assert reply.failed is not None and "address" in reply.failed
    assert receiver.connections == 0


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that the environment names for others sees nothing of a webhook."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await Poster(allow_loopback=True).post(receiver.url(), {}, b"{}")).failed is None


@pytest.mark.usefixtures("soon")
async def test_a_slow_name_server_holds_up_its_own_webhook_alone(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """While forty names are looked up in vain, another is answered; who asks for one of them again begins no second look-up."""
    asked: list[str] = []

    over = threading.Event()

    def slow(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        if host != "localhost":
            over.wait(PATIENCE)
        return ["127.0.0.1"]

    poster = Poster(allow_loopback=True, resolve=slow)
    stuck = [asyncio.create_task(poster.post(f"https://slow{n % 40}.example/", {}, b"{}")) for n in range(80)]
    await asyncio.sleep(0)  # they have begun
    monkeypatch.setattr(posting, "DEADLINE", PATIENCE)
    try:
        assert (await poster.post(f"http://localhost:{receiver.port}/ok", {}, b"{}")).failed is None
        assert all("it took longer than" in str(reply.failed) for reply in await asyncio.gather(*stuck))
        assert len(asked) == 41
    finally:
        over.set()


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate of a name with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    return cert, private


async def test_the_certificate_must_be_of_the_name_and_of_an_authority(tmp_path: Path) -> None:
    """TLS is checked against the name in the address, though the connection was made to an address of ours."""
    cert, key = certificate(tmp_path, "hook.example")
    ours = ssl.create_default_context(cafile=str(cert))
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(cert, key)
    async with receiving(served) as receiver:

        async def send(name: str, context: ssl.SSLContext | None) -> str | None:
            poster = Poster(allow_loopback=True, resolve=lambda host, port: ["127.0.0.1"], context=context)
            return (await poster.post(f"https://{name}:{receiver.port}/ok", {}, b"{}")).failed

        assert await send("hook.example", ours) is None
        assert "TLS fails" in str(await send("other.example", ours))
        assert "TLS fails" in str(await send("hook.example", None))
    assert len(receiver.received) == 1
