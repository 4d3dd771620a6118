"""What a browser does to sign in at a provider: it keeps cookies, and is sent there and back."""

import html
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from services.settings import OperatorToken, Settings
from tests.support.oidc import Provider
from tests.support.sites import client

BROWSER = {"sec-fetch-site": "same-origin", "accept": "text/html"}
TOKEN = OperatorToken(name="robot", scopes=frozenset({"read"}), token="token-of-a-robot-in-the-tests")


class Browser:
    """A browser that keeps cookies as browsers do, for the site in the test's own process."""

    def __init__(self, http: httpx.AsyncClient, provider: Provider) -> None:
        self.http = http
        self.provider = provider
        self.cookies: dict[str, str] = {}

    async def get(self, path: str) -> httpx.Response:
        """Open a page."""
        return self._kept(await self.http.get(path, headers=self._headers()))

    async def post(self, path: str, data: Mapping[str, str]) -> httpx.Response:
        """Send a form."""
        return self._kept(await self.http.post(path, data=dict(data), headers=self._headers()))

    def _headers(self) -> dict[str, str]:
        return BROWSER | {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def _kept(self, answer: httpx.Response) -> httpx.Response:
        for header in answer.headers.get_list("set-cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in header:
                del self.cookies[name]
        self.http.cookies.clear()
        return answer

    async def begin(self, path: str = "/ops/sign-in/oidc") -> str:
        """Be sent to the provider; return the state."""
        sent = await self.get(path)
        assert sent.status_code == 303, sent.text
        return self.provider.begun(sent.headers["location"])

    async def back(self, state: str, **query: str) -> httpx.Response:
        """Be sent back."""
        right = {"code": "right", "state": state, "iss": self.provider.issuer, "session_state": "of keycloak"}
        return await self.get(f"/ops/sign-in/back?{httpx.QueryParams(right | query)}")

    async def sign_in(self) -> httpx.Response:
        """Sign in, all the way."""
        return await self.back(await self.begin())


@asynccontextmanager
async def browsing(given: Settings, provider: Provider) -> AsyncIterator[Browser]:
    """Run the site, and open a browser."""
    async with client(given) as http:
        yield Browser(http, provider)


def said(answer: httpx.Response) -> str:
    """Return the text of a page's message."""
    return html.unescape(answer.text.split('role="alert">')[1].split("</p>")[0])


async def failures(connection: Any) -> list[str]:
    """Return why sign-ins failed."""
    return [row["why"] for row in await connection.fetch("select why from operators.failed_sign_ins order by why")]
