"""Messages of Amazon SNS: believed when signed under a certificate that a public authority gave to SNS, and not else."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, NamedTuple
from urllib.error import HTTPError

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from cryptography.x509.verification import Store

from emails import sns
from services.clock import now
from services.newsletter.reports import read_ses
from services.settings import Newsletter
from tests.support.settings import settings
from tests.support.sites import opened

TOPIC = "arn:aws:sns:eu-west-1:1:bounces"
PATH = f"/SimpleNotificationService-{'0a' * 16}.pem"
URL = f"https://sns.eu-west-1.amazonaws.com{PATH}"
ISSUER = "http://crt.r2m01.amazontrust.com/r2m01.cer"
AT = datetime(2026, 11, 1, tzinfo=UTC)


class Authority(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def issue(
    name: str, by: Authority | None = None, *, host: str | None = None, until: datetime = AT + timedelta(days=30),
    bits: int = 2048, issuer: str = ISSUER,
) -> Authority:  # fmt: skip
    """Issue a certificate: of an authority, or of a host whose issuer's certificate lies at an address."""
    key = rsa.generate_private_key(65537, bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signing = Authority(None, key) if by is None else by  # type: ignore[arg-type]
    built = (
        x509.CertificateBuilder(subject if by is None else by.certificate.subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(AT - timedelta(days=30))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.key.public_key()), critical=False)
    )
    if host is None:
        built = built.add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    else:
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer))
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        built = built.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        built = built.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Authority(built.sign(signing.key, hashes.SHA256()), key)


# Keys of RSA take long to make: none is made before a test needs it, since every worker imports this.
@cache
def root() -> Authority:
    """Return the authority that is trusted."""
    return issue("Root")


@cache
def between() -> Authority:
    """Return the authority that the trusted one vouches for."""
    return issue("Between", root())


@cache
def signer() -> Authority:
    """Return who signs for SNS."""
    return issue("sns.amazonaws.com", between(), host="sns.amazonaws.com")


def pem(of: Authority) -> bytes:
    """Write a certificate as SNS serves it."""
    return of.certificate.public_bytes(serialization.Encoding.PEM)


class Web:
    """What lies where, and what was asked for."""

    def __init__(self, served: bytes, **more: bytes | Exception) -> None:
        self.asked: list[str] = []
        issuer = between().certificate.public_bytes(serialization.Encoding.DER)
        self._found: dict[str, bytes | Exception] = {URL: served, ISSUER: issuer, **more}

    def __call__(self, url: str) -> bytes:
        """Fetch."""
        self.asked.append(url)
        found = self._found.get(url) or HTTPError(url, 404, "Not Found", {}, None)  # type: ignore[arg-type]
        if isinstance(found, Exception):
            raise found
        return found


def signers(web: Callable[[str], bytes]) -> sns.Signers:
    """Trust the tests' own authority."""
    return sns.Signers(web, lambda: Store([root().certificate]))


def message(key: rsa.RSAPrivateKey, version: str = "2") -> dict[str, Any]:
    """Sign a bounce as SNS does."""
    bounce = {
        "notificationType": "Bounce",
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": "ada@example.com", "status": "5.1.1"}]},
        "mail": {"headers": [{"name": "Message-ID", "value": "<issue-1.x@verdicts.example>"}]},
    }
    made = {
        "Type": "Notification", "MessageId": "m1", "TopicArn": TOPIC, "Message": json.dumps(bounce),
        "Timestamp": AT.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "SignatureVersion": version, "SigningCertURL": URL,
    }  # fmt: skip
    signed = "".join(f"{name}\n{made[name]}\n" for name in ("Message", "MessageId", "Timestamp", "TopicArn", "Type"))
    hashed = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303 - as Amazon's version 1 is
    made["Signature"] = base64.b64encode(key.sign(signed.encode(), padding.PKCS1v15(), hashed)).decode()
    return made


@pytest.mark.parametrize("version", ["1", "2"])
async def test_amazons_messages_are_verified_and_read(version: str) -> None:
    """A bounce signed by Amazon is read; changed, old, of another topic, or of an unknown version it is refused."""
    right = message(signer().key, version)
    known = await signers(Web(pem(signer()))).of(right, AT)
    sns.verify(sns.read_signed(right, (TOPIC,), AT), known, AT)
    (report,) = read_ses(right)
    assert (report.kind, report.recipient, report.code) == ("hard", "ada@example.com", "5.1.1")
    unversioned = {name: value for name, value in right.items() if name != "SignatureVersion"}
    for wrong, when in (
        ({**right, "MessageId": "m2"}, AT),
        (right, AT + timedelta(hours=2)),
        ({**right, "TopicArn": "another"}, AT),
        ({**right, "Signature": "AAAA"}, AT),
        ({**right, "SignatureVersion": "3"}, AT),
        ({**right, "SignatureVersion": ""}, AT),
        (unversioned, AT),
    ):
        with pytest.raises(sns.NotSigned):
            sns.verify(sns.read_signed(wrong, (TOPIC,), when), known, when)
    late = AT + timedelta(days=31)
    with pytest.raises(sns.NotSigned, match="valid now"):
        sns.verify(sns.read_signed({**right, "Timestamp": late.isoformat()}, (TOPIC,), late), known, late)


@pytest.mark.parametrize(
    "served",
    [lambda: pem(issue("sns.amazonaws.com", host="sns.amazonaws.com")),
     lambda: pem(issue("sns.amazonaws.com", between(), host="evil.example")),
     lambda: pem(issue("sns.amazonaws.com", between(), host="sns.us-east-1.amazonaws.com")),
     lambda: pem(issue("sns.amazonaws.com", issue("Stranger"), host="sns.amazonaws.com")),
     lambda: pem(issue("sns.amazonaws.com", between(), host="sns.amazonaws.com", until=AT - timedelta(days=1))),
     lambda: pem(issue("sns.amazonaws.com", between(), host="sns.amazonaws.com", bits=1024)),
     lambda: pem(issue("sns.amazonaws.com", signer(), host="sns.amazonaws.com")),
     lambda: b"<Error/>", lambda: b""],
    ids=["self-signed", "other host", "other region", "other authority", "expired", "short", "no authority", "xml", "empty"],
)  # fmt: skip
async def test_a_certificate_that_no_authority_gave_to_sns_is_refused(served: Callable[[], bytes]) -> None:
    """The chain must lead to a trusted root, and the name must be one of SNS in the topic's region."""
    with pytest.raises(sns.NotSigned):
        await signers(Web(served())).of(message(signer().key), AT)


@pytest.mark.parametrize("host", ["sns.eu-west-1.amazonaws.com", "sns-signing.eu-west-1.amazonaws.com"])
async def test_the_names_of_a_region_are_known(host: str) -> None:
    """Newer regions sign under names of their own."""
    assert await signers(Web(pem(issue("x", between(), host=host)))).of(message(signer().key), AT)


async def test_an_issuer_is_fetched_from_an_authority_alone() -> None:
    """Whatever address a certificate names as its issuer's: only authorities of Amazon's are asked."""
    web = Web(pem(issue("sns.amazonaws.com", between(), host="sns.amazonaws.com", issuer="http://169.254.169.254/latest.cer")))
    with pytest.raises(sns.NotSigned):
        await signers(web).of(message(signer().key), AT)
    assert web.asked == [URL]


async def test_a_certificate_is_kept_and_one_that_is_away_is_no_refusal() -> None:
    """A certificate is fetched once. Amazon's 404 refuses the message; a network that fails asks SNS to send it again."""
    web = Web(pem(signer()))
    known = signers(web)
    for _ in range(2):
        await known.of(message(signer().key), AT)
    assert web.asked == [URL, ISSUER]
    with pytest.raises(sns.NotSigned):
        await signers(Web(b"", **{URL: HTTPError(URL, 404, "", {}, None)})).of(message(signer().key), AT)  # type: ignore[arg-type]
    for error in (TimeoutError(), OSError(), HTTPError(URL, 503, "", {}, None)):  # type: ignore[arg-type]
        with pytest.raises(sns.CertificateAway):
            await signers(Web(b"", **{URL: error})).of(message(signer().key), AT)


async def test_a_message_that_cannot_count_makes_us_fetch_nothing(dsn: str, valkey_url: str) -> None:
    """Of another topic or type, old, or half: it is refused for what it says, before any certificate is fetched."""
    web, right = Web(pem(signer())), {**message(signer().key), "Timestamp": now().isoformat()}
    given = settings(dsn, valkey_url, newsletter=Newsletter(ses_topics=(TOPIC,)))
    transport = partial(httpx.ASGITransport, client=("192.0.2.7", 4321))
    wrong: tuple[dict[str, Any], ...] = (
        {"TopicArn": "another"}, {"Type": "Another"}, {"Timestamp": AT.isoformat()}, {"Timestamp": "now"},
        {"Signature": "?"}, {"SignatureVersion": "3"},
    )  # fmt: skip
    async with opened(given) as app, httpx.AsyncClient(transport=transport(app=app), base_url="http://site.test") as http:
        app.state.site.signers = signers(web)
        for change in wrong:
            answer = await http.post("/v1/webhooks/mail/ses", json={**right, **change})
            assert (answer.status_code, web.asked) == (401, []), change
        await http.post("/v1/webhooks/mail/ses", json=right)
    assert web.asked == [URL, ISSUER]


def test_the_public_roots_are_read() -> None:
    """The authorities of the package can be read."""
    assert sns.public_roots() is sns.public_roots()


@pytest.mark.parametrize(
    "wrong",
    ["https://evil.example{}", "http://sns.eu-west-1.amazonaws.com{}", "https://sns.x@evil.example{}",
     "https://sns.s3-us-west-2.amazonaws.com{}", "https://sns.us-east-1.amazonaws.com{}",
     "https://sns.eu-west-1.amazonaws.com/x{}",
     "https://sns.eu-west-1.amazonaws.com{}?x", "https://sns.eu-west-1.amazonaws.com{}#x",
     "https://sns.eu-west-1.amazonaws.com:444{}",
     "https://sns.eu-west-1.amazonaws.com.cn{}", "https://sns.eu-west-1.amazonaws.com/x.pem",
     "https://u@sns.eu-west-1.amazonaws.com{}"],
)  # fmt: skip
def test_a_certificate_is_fetched_from_the_topics_region_alone(wrong: str) -> None:
    """One host and one form of path are asked for the certificate, and no other."""
    assert sns.certificate_url({"TopicArn": TOPIC, "SigningCertURL": URL}) == URL
    with pytest.raises(sns.NotSigned):
        sns.certificate_url({"TopicArn": TOPIC, "SigningCertURL": wrong.format(PATH)})
