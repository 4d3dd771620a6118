"""A provider that does as it is told: right in everything, until a test has it lie, hang, or be away."""

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from services.setting_groups import GroupScopes, SigningIn

CLIENT = "ballotpress"
SECRET = "secret of the client/of:the tests"
GROUPS = (GroupScopes("editors", frozenset({"moderate", "catalog"})), GroupScopes("admins", frozenset({"read", "operators"})))

Answer = tuple[int, bytes, Mapping[str, str]]


class Key:
    """A key that signs ID tokens, made when it is first used, and how it is shown."""

    def __init__(self, kid: str, algorithm: str = "RS256", bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.bits = bits

    @cached_property
    def private(self) -> Any:
        """The private key."""
        if self.algorithm.startswith(("RS", "PS")):
            return rsa.generate_private_key(public_exponent=65537, key_size=self.bits)
        return ec.generate_private_key(ec.SECP256R1())

    def shown(self) -> dict[str, Any]:
        """Return the public key."""
        kind = RSAAlgorithm if self.algorithm.startswith(("RS", "PS")) else ECAlgorithm
        return {**json.loads(kind.to_jwk(self.private.public_key())), "kid": self.kid, "use": "sig"}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """Return an ID token."""
        return jwt.encode(dict(claims), self.private, algorithm=self.algorithm, headers={"kid": self.kid, **header})


FIRST = Key("first")


class Provider:
    """The provider. `claims` and `metadata` are laid over what is right (None takes away); `answers` replaces whole ones."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}/realm"
        self.keys = [FIRST]
        self.sign: Callable[[Mapping[str, Any]], str] = FIRST.sign
        self.nonce = self.challenge = ""
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.asked: list[str] = []
        self.sent: dict[str, str] = {}

    @property
    def given(self) -> SigningIn:
        """The settings of a site whose operators sign in here."""
        return SigningIn(issuer=self.issuer, client_id=CLIENT, client_secret=SECRET, groups=GROUPS)

    def told(self) -> dict[str, Any]:
        """Return what it says of itself."""
        names = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys", "userinfo_endpoint": "me"}
        names["end_session_endpoint"] = "out"
        plain = {"issuer": self.issuer, "authorization_response_iss_parameter_supported": True}
        addresses = {name: f"{self.issuer}/{path}" for name, path in names.items()}
        return _laid({**plain, **addresses, "token_endpoint_auth_methods_supported": ["client_secret_basic"]}, self.metadata)

    def begun(self, address: str) -> str:
        """Take note of a sign-in that a browser was sent here with; return its state."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/auth"
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        self.nonce, self.challenge, self.sent = asked["nonce"], asked["code_challenge"], asked
        return asked["state"]

    def id_token(self) -> str:
        """Return the ID token of the last sign-in."""
        plain = {"iss": self.issuer, "sub": "subject-of-ann", "aud": CLIENT, "nonce": self.nonce}
        more = {"iat": int(time()), "exp": int(time()) + 300, "preferred_username": "ann", "groups": ["editors", "others"]}
        return self.sign(_laid({**plain, **more}, self.claims))

    def answer(self, path: str, form: Mapping[str, list[str]], authorization: str) -> Answer:
        """Answer a request."""
        name = path.removeprefix("/realm/")
        self.asked.append(name)
        if name in self.answers:
            return self.answers[name]()
        if name == "keys":
            return _json({"keys": [key.shown() for key in self.keys]})
        if name == "me":
            return _json(_laid({"sub": "subject-of-ann"}, self.userinfo))
        if name == ".well-known/openid-configuration":
            return _json(self.told())
        verifier = base64.urlsafe_b64encode(sha256(form["code_verifier"][0].encode()).digest()).rstrip(b"=").decode()
        client = "Basic " + base64.b64encode(b"ballotpress:secret%20of%20the%20client%2Fof%3Athe%20tests").decode()
        if verifier != self.challenge or form["code"] != ["right"] or authorization != client:
            return _json({"error": "invalid_grant"}, 400)
        return _json({"access_token": "access", "token_type": "Bearer", "id_token": self.id_token()})


def _laid(plain: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**plain, **over}.items() if value is not None}


def _json(value: object, status: int = 200) -> Answer:
    return status, json.dumps(value).encode(), {"content-type": "application/json"}


@contextmanager
def providing() -> Iterator[Provider]:
    """Run a provider for a while."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    provider = Provider(server.server_port)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*provider.answer(self.path, {}, self.headers.get("authorization", "")))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            self._send(*provider.answer(self.path, form, self.headers.get("authorization", "")))

        def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    server.handle_error = lambda *args: None  # type: ignore[method-assign] - who asks may hang up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
