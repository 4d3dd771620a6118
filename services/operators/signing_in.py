"""Signing in at the provider: OpenID Connect's authorization code, with PKCE (RFC 7636), state, nonce and issuer (RFC 9207)."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec
from asyncpg import Connection, Pool

from services.operators.fetching import ProviderAway, ProviderRefuses
from services.operators.id_tokens import TokenRefused, read_id_token
from services.operators.people import name_of
from services.operators.provider import Provider
from services.operators.sessions import Identity
from services.settings import Settings

Database: TypeAlias = "Pool[Any] | Connection[Any]"

USE_STATE: Final = "insert into operators.used_states (state) values ($1) on conflict do nothing returning true"
QUIET_REFUSALS: Final = frozenset({"login_required", "interaction_required", "consent_required", "account_selection_required"})
"""What a provider says that would have to ask its user something (OpenID Connect Core, 3.1.2.6)."""
_BYTES: Final = 32


class SignInRefused(Exception):
    """Nobody is signed in. The message says why; `why` is the same in a few words, to be counted."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class MustAsk(Exception):
    """The provider would have to ask its user something, and was told not to."""


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a sign-in was begun with, as the browser keeps it: `to` is the page to go to afterwards."""

    state: str
    nonce: str
    verifier: str
    to: str


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider sends the browser back with."""

    code: str | None = None
    state: str | None = None
    iss: str | None = None
    error: str | None = None


def begin(to: str) -> Begun:
    """Return a sign-in that is about to begin."""
    state, nonce, verifier = (secrets.token_urlsafe(_BYTES) for _ in range(3))
    return Begun(state=state, nonce=nonce, verifier=verifier, to=to)


class SigningIn:
    """Signs operators in at the provider of the settings."""

    def __init__(self, settings: Settings, provider: Provider) -> None:
        self._given = settings.signing_in
        self._client = settings.signing_in.client_id or ""
        self._names = [token.name for token in settings.operator_tokens]
        self._groups = {one.group for one in settings.signing_in.groups}
        self._base_url = settings.base_url
        self.provider = provider

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends the browser back to; it has to know this address."""
        return f"{self._base_url}/ops/sign-in/back"

    async def address(self, begun: Begun, *, quiet: bool) -> str:
        """Return the provider's address that a sign-in begins at; `quiet` asks its user nothing. Raises ProviderAway."""
        challenge = urlsafe_b64encode(sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode("ascii")
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": self.redirect_uri,
            "scope": self._given.asked_scopes,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **({"prompt": "none"} if quiet else {}),
        }
        return _with(await self._endpoint(), asked)

    async def _endpoint(self) -> str:
        return (await self.provider.metadata()).authorization_endpoint

    async def way_out(self) -> str | None:
        """Return the provider's address for signing out there too (RP-Initiated Logout); None if it has none, or is away."""
        try:
            end = (await self.provider.metadata()).end_session_endpoint
        except ProviderAway:
            return None
        query = {"client_id": self._client, "post_logout_redirect_uri": f"{self._base_url}/ops/sign-in"}
        return None if end is None else _with(end, query)

    async def finish(self, database: Database, begun: Begun | None, returned: Returned) -> Identity:
        """Return whom the provider vouches for. Raises SignInRefused, MustAsk, ProviderAway."""
        await self._must_be_ours(database, begun, returned)
        assert begun is not None  # noqa: S101 - it was refused above
        if returned.error in QUIET_REFUSALS:
            raise MustAsk
        if returned.error is not None or not returned.code:
            raise SignInRefused("refused by the provider", f"{self.provider.host} let nobody in: {_word(returned.error)}.")
        try:
            tokens = await self.provider.exchange(returned.code, begun.verifier, self.redirect_uri)
            claims = await read_id_token(tokens.get("id_token"), self.provider, self._client, begun.nonce)
        except ProviderRefuses as error:
            raise SignInRefused(
                "code refused", f"{self.provider.host} doesn't take its own code: {_word(str(error))}."
            ) from None
        except TokenRefused as error:
            raise SignInRefused("ID token refused", f"What {self.provider.host} sent isn't believed: {error}.") from None
        return await self._admit(database, claims, tokens.get("access_token"))

    async def _must_be_ours(self, database: Database, begun: Begun | None, returned: Returned) -> None:
        """Refuse what this browser didn't begin, what came back before, and what comes from another provider."""
        state = returned.state or ""
        if begun is None or not hmac.compare_digest(begun.state.encode(), state.encode()):
            raise SignInRefused(
                "not begun here", "This sign-in wasn't begun in this browser, or more than ten minutes ago. Sign in again."
            )
        if not await database.fetchval(USE_STATE, sha256(state.encode()).digest()):
            raise SignInRefused("used before", "This sign-in was used already. Sign in again.")
        must_name = (await self.provider.metadata()).authorization_response_iss_parameter_supported
        if returned.iss != self.provider.issuer and (must_name or returned.iss is not None):
            raise SignInRefused("another issuer", f"This answer isn't from {self.provider.host}. Sign in again.")

    async def _admit(self, database: Database, claims: Mapping[str, Any], access_token: object) -> Identity:
        """Return the identity of claims; groups that they lack are asked for. Raises SignInRefused, ProviderAway."""
        said = claims
        if self._given.groups_claim not in claims and isinstance(access_token, str) and access_token:
            more = await self.provider.userinfo(access_token)
            if more and more.get("sub") != claims["sub"]:
                raise SignInRefused("another subject", f"{self.provider.host} contradicts itself about who you are.")
            said = {**more, **claims}
        issuer, subject = self.provider.issuer, claims["sub"]
        groups = [group for group in _groups(said.get(self._given.groups_claim)) if group in self._groups]
        if not groups:
            raise SignInRefused(
                "no group",
                f"{self.provider.host} knows you, but none of your groups there opens anything here."
                " Ask whoever runs this site to add you to one.",
            )
        name = await name_of(database, issuer, subject, said.get(self._given.name_claim), self._names)
        return Identity(name=name, issuer=issuer, subject=subject, groups=tuple(dict.fromkeys(groups)))


def _with(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"


def _groups(claim: object) -> Sequence[str]:
    """Return the groups of a claim: a list, or one text."""
    if isinstance(claim, str):
        return [claim]
    return [group for group in claim if isinstance(group, str)] if isinstance(claim, list) else []


def _word(error: str | None) -> str:
    """Return OAuth's word for an error as it may be shown."""
    word = (error or "it said nothing")[:60]
    return word.replace("_", " ") if word.isprintable() else "it said nothing readable"
