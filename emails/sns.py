"""Verify messages of Amazon SNS: which topic, how old, and signed under a certificate that a public authority gave to SNS.

"Verifying the signatures of Amazon SNS messages" in Amazon's developer guide says which fields are signed, in which order.
A certificate comes without its issuer's, so that is fetched too, from the address that the certificate names.
"""

import asyncio
import base64
import re
import ssl
import urllib.request
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

OLDEST: Final = timedelta(hours=1)
FETCH_SECONDS: Final = 8.0
_MOST_KEPT: Final = 16
_MOST_BYTES: Final = 64 * 1024
_LEAST_BITS: Final = 2048
_TOPIC: Final = re.compile(r"arn:(?P<partition>aws[a-z-]{0,16}):sns:(?P<region>[a-z0-9-]{3,40}):")
_CERTIFICATE: Final = re.compile(
    r"https://sns\.(?P<region>[a-z0-9-]{3,40})\.amazonaws\.com(?P<china>\.cn)?/SimpleNotificationService-[0-9a-f]{32}\.pem"
)
# Where Amazon's authority, and DigiCert for China, keep their certificates: the chain is checked, so plain HTTP will do.
_ISSUER: Final = re.compile(r"http://(?:crt\.[a-z0-9]+\.amazontrust|cacerts\.digicert)\.com/[A-Za-z0-9._-]{1,80}\.(?:cer|crt)")
_SIGNED: Final = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
_HASHES: Final[dict[Any, hashes.HashAlgorithm]] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - version 1 is SHA-1

Message = Mapping[str, Any]
Fetch = Callable[[str], bytes]


class NotSigned(Exception):
    """The message is from another topic, isn't signed by Amazon, or is too old."""


class Signed(NamedTuple):
    """What a message says was signed, the signature, and how it was made."""

    text: bytes
    signature: bytes
    algorithm: hashes.HashAlgorithm


class CertificateAway(Exception):
    """The signing certificate can't be fetched now; SNS repeats what is answered with a 5xx."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """Follow none: the address that was checked is the one that counts."""


@lru_cache(maxsize=1)
def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context(cafile=certifi.where())
    return urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))


def fetch(url: str) -> bytes:
    """Return what lies at a checked address. Raises OSError."""
    deadline, body = monotonic() + FETCH_SECONDS, b""
    with _opener().open(url, timeout=FETCH_SECONDS / 2) as answer:
        while piece := answer.read1(8192):
            body += piece
            if len(body) > _MOST_BYTES or monotonic() > deadline:
                raise OSError("too large or too slow")
    return body


@lru_cache(maxsize=1)
def public_roots() -> Store:
    """Return the public authorities that browsers trust too."""
    pieces = certifi.contents().split("-----BEGIN CERTIFICATE-----")[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some old roots bend the rules of today
        return Store(list(_loaded(pieces)))


def _loaded(pieces: Iterable[str]) -> Iterator[x509.Certificate]:
    for piece in pieces:
        with suppress(ValueError):
            yield x509.load_pem_x509_certificate(f"-----BEGIN CERTIFICATE-----{piece}".encode())


def certificate_url(message: Message) -> str:
    """Return the address of the signing certificate. Raises NotSigned unless it is that of SNS in the topic's own region."""
    url = str(message.get("SigningCertURL", ""))
    topic, address = _TOPIC.match(str(message.get("TopicArn", ""))), _CERTIFICATE.fullmatch(url)
    if topic is None or address is None or address["region"] != topic["region"]:
        raise NotSigned("the certificate isn't Amazon's")
    if (address["china"] is not None) != (topic["partition"] == "aws-cn"):
        raise NotSigned("the certificate isn't Amazon's")
    return url


def names_at(url: str) -> set[str]:
    """Return the names that SNS signs under in the region of a certificate's checked address."""
    region, domain = url.removeprefix("https://sns.").partition("/")[0].split(".", 1)
    hosts = {"sns", f"sns.{region}", f"sns-{region}", f"sns-signing.{region}"}
    if region.startswith("us-gov-"):
        hosts.add("sns-us-gov-west-1")
    return {f"{host}.{domain}" for host in hosts}


def _key_of(signer: x509.Certificate) -> rsa.RSAPublicKey:
    """Return a certificate's key. Raises NotSigned for another sort, or one that is too short."""
    key = signer.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise NotSigned("the certificate has another sort of key")
    return key


class Signers:
    """Fetches, checks and keeps the certificates under which SNS signs: one fetch at a time, on a thread of its own."""

    def __init__(self, fetch: Fetch = fetch, roots: Callable[[], Store] = public_roots) -> None:
        self._fetch = fetch
        self._roots = roots
        self._kept: dict[str, x509.Certificate] = {}
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "sns")

    async def of(self, message: Message, at: datetime) -> x509.Certificate:
        """Return the certificate that a message names. Raises NotSigned, CertificateAway."""
        url = certificate_url(message)
        with suppress(KeyError):
            return self._kept[url]
        try:
            async with asyncio.timeout(2 * FETCH_SECONDS), self._turn:
                if url not in self._kept:
                    found = await asyncio.get_running_loop().run_in_executor(self._thread, self._checked, url, at)
                    if len(self._kept) >= _MOST_KEPT:
                        self._kept.clear()
                    self._kept[url] = found
                return self._kept[url]
        except HTTPError as error:
            raise (CertificateAway if error.code >= 500 else NotSigned)(f"fetching the certificate gave {error.code}") from None
        except OSError as error:  # TimeoutError is one
            raise CertificateAway("the certificate can't be fetched") from error

    def _checked(self, url: str, at: datetime) -> x509.Certificate:
        """Fetch a certificate and verify its chain. Raises NotSigned, OSError."""
        try:
            signer, *others = x509.load_pem_x509_certificates(self._fetch(url))
            named = signer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            ours = names_at(url) & set(named.get_values_for_type(x509.DNSName))
            builder = PolicyBuilder().store(self._roots()).time(at.astimezone(UTC).replace(tzinfo=None))
            builder.build_server_verifier(x509.DNSName(min(ours))).verify(signer, [*others, *self._issuers(signer)])
        except (ValueError, x509.ExtensionNotFound, VerificationError):
            raise NotSigned("no public authority gave the certificate to SNS") from None
        _key_of(signer)
        return signer

    def _issuers(self, signer: x509.Certificate) -> Iterator[x509.Certificate]:
        """Fetch the issuer's certificate from where the authority keeps it."""
        access = signer.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        for entry in access:
            url = str(entry.access_location.value)
            if entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS and _ISSUER.fullmatch(url):
                yield x509.load_der_x509_certificate(self._fetch(url))
                return


def read_signed(message: Message, topics: tuple[str, ...], at: datetime) -> Signed:
    """Return what a message has signed. Raises NotSigned unless it is whole, recent, and from one of these topics.

    All that a message itself can be told by is looked at here, before a stranger's makes us fetch a certificate.
    """
    if message.get("TopicArn") not in topics:
        raise NotSigned("the topic isn't one of ours")
    try:
        sent = datetime.fromisoformat(str(message["Timestamp"])).astimezone(UTC)
        signature = base64.b64decode(str(message["Signature"]), validate=True)
        text = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message)
        algorithm = _HASHES[message["SignatureVersion"]]
    except (KeyError, ValueError, TypeError, OverflowError):
        raise NotSigned("the message isn't whole") from None
    if abs(at - sent) > OLDEST:
        raise NotSigned("the message is too old")
    return Signed(text.encode(), signature, algorithm)


def verify(signed: Signed, signer: x509.Certificate, at: datetime) -> None:
    """Raise NotSigned unless this was signed under this certificate, and the certificate is valid."""
    if not signer.not_valid_before_utc <= at <= signer.not_valid_after_utc:
        raise NotSigned("the certificate isn't valid now")
    try:
        _key_of(signer).verify(signed.signature, signed.text, padding.PKCS1v15(), signed.algorithm)
    except InvalidSignature:
        raise NotSigned("the signature is wrong") from None
