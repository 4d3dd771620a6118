"""The provider: what it says of itself (OpenID Connect Discovery) and its keys, each kept for an hour, and what it is asked.

Keys are asked for anew when a token names one that isn't known, every ten seconds at most. While the provider is away, what it
said last holds for a day.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from services.operators.fetching import ProviderAway, ProviderRefuses, Web, is_address
from services.setting_groups import SigningIn

FRESH_SECONDS: Final = 3600.0
STALE_SECONDS: Final = 24 * 3600.0
PAUSE_SECONDS: Final = 10.0
"""Between two questions for the same, whatever came of the first."""
MOST_KEYS: Final = 100
_WELL_KNOWN: Final = "/.well-known/openid-configuration"

T = TypeVar("T")


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says of itself (OpenID Connect Discovery, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    @property
    def addresses(self) -> Sequence[str]:
        """All addresses of the provider that are asked, or led to."""
        known = (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)
        return [*known, *filter(None, (self.userinfo_endpoint, self.end_session_endpoint))]


class _Kept(Generic[T]):
    """Something of the provider's that is kept for a while; whoever asks meanwhile waits for the same answer."""

    def __init__(self, fetch: Callable[[], Awaitable[T]]) -> None:
        self._fetch = fetch
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._at = self._tried = float("-inf")
        self._wrong = ProviderAway("wasn't asked yet")

    async def read(self, *, anew: bool = False) -> T:
        """Return it, as kept for an hour; `anew`, as it is now. Raises ProviderAway."""
        async with self._lock:
            if (anew or monotonic() - self._at > FRESH_SECONDS) and monotonic() - self._tried > PAUSE_SECONDS:
                await self._renew()
            if self._value is None or monotonic() - self._at > STALE_SECONDS:
                raise self._wrong
            return self._value

    async def _renew(self) -> None:
        try:
            self._value = await self._fetch()
            self._at = monotonic()
        except ProviderRefuses as error:
            self._wrong = ProviderAway(f"refuses to say anything of itself ({error})")
        except ProviderAway as error:
            self._wrong = error
        self._tried = monotonic()


class Provider:
    """The provider of the settings, as one process knows it."""

    def __init__(self, given: SigningIn, web: Web) -> None:
        self._given = given
        self._web = web
        self._metadata = _Kept(self._fetch_metadata)
        self._keys = _Kept(self._fetch_keys)

    @property
    def issuer(self) -> str:
        """The issuer."""
        return self._given.issuer or ""

    @property
    def host(self) -> str:
        """What people are told: the host of the provider."""
        return urlsplit(self.issuer).netloc

    async def metadata(self) -> Metadata:
        """Return what it says of itself. Raises ProviderAway."""
        return await self._metadata.read()

    async def keys(self, kid: str | None) -> Sequence[Mapping[str, Any]]:
        """Return its keys of a name, or all without one; asked for anew if there is none of that name. Raises ProviderAway."""
        known = _named(await self._keys.read(), kid)
        return known or _named(await self._keys.read(anew=True), kid)

    async def exchange(self, code: str, verifier: str, redirect_uri: str) -> Mapping[str, Any]:
        """Return the tokens for a code (RFC 6749, 4.1.3; RFC 7636, 4.5). Raises ProviderAway, ProviderRefuses."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
        metadata = await self.metadata()
        more, headers = self._credentials(metadata.token_endpoint_auth_methods_supported)
        return await self._web.post(metadata.token_endpoint, {**form, **more}, headers)

    def _credentials(self, methods: Sequence[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return what of a form and of headers says who we are (RFC 6749, 2.3.1). Raises ProviderAway."""
        name, secret = self._given.client_id or "", self._given.client_secret
        if secret is None:
            return {"client_id": name}, {}
        if "client_secret_basic" in methods:
            pair = f"{quote(name, safe='')}:{quote(secret, safe='')}"
            return {}, {"authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
        if "client_secret_post" in methods:
            return {"client_id": name, "client_secret": secret}, {}
        raise ProviderAway("takes no secret of a client, which the settings give")

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        """Return what it says of whoever has signed in; nothing if it has no such address. Raises ProviderAway."""
        metadata = await self.metadata()
        if metadata.userinfo_endpoint is None:
            return {}
        try:
            return await self._web.get(metadata.userinfo_endpoint, {"authorization": f"Bearer {access_token}"})
        except ProviderRefuses as error:
            raise ProviderAway(f"doesn't say who you are ({error})") from None

    async def _fetch_metadata(self) -> Metadata:
        found = await self._web.get(self.issuer.rstrip("/") + _WELL_KNOWN)
        if found.get("issuer") != self.issuer:
            raise ProviderAway("calls itself by another name than BALLOTPRESS_OIDC_ISSUER")
        try:
            metadata = msgspec.convert(found, Metadata)
        except msgspec.ValidationError:
            raise ProviderAway("doesn't say where to sign in") from None
        if not all(map(is_address, metadata.addresses)):
            raise ProviderAway("names an address that isn't https")
        return metadata

    async def _fetch_keys(self) -> Sequence[Mapping[str, Any]]:
        found = (await self._web.get((await self.metadata()).jwks_uri)).get("keys")
        if not isinstance(found, list) or not 0 < len(found) <= MOST_KEYS:
            raise ProviderAway("shows no keys")
        return [key for key in found if isinstance(key, dict) and key.get("use", "sig") == "sig"]


def _named(keys: Sequence[Mapping[str, Any]], kid: str | None) -> Sequence[Mapping[str, Any]]:
    return keys if kid is None else [key for key in keys if key.get("kid") == kid]
