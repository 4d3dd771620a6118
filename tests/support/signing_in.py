"""Operators' sessions for the tests: signed in as a browser would be, without the form."""

from collections.abc import Mapping

import asyncpg

from services.clock import fresh_id
from services.operators.sessions import Sessions, Visit
from services.settings import OperatorToken, Settings
from services.web.http.auth import SessionCookies

VISIT = Visit("Firefox", "192.0.2.0/24")


async def session_cookie(given: Settings, operator: OperatorToken) -> str:
    """Sign an operator in by the token, and return the cookie as the browser sends it."""
    secret = fresh_id()
    connection = await asyncpg.connect(given.database_url)
    try:
        await Sessions(connection, given).begin_by_token(fresh_id(), secret, operator, VISIT)
    finally:
        await connection.close()
    return cookie_of(given, secret)


def cookie_of(given: Settings, secret: str) -> str:
    """Return the cookie of a session's secret as the browser sends it."""
    return SessionCookies(given).begin(secret)[1].partition(b";")[0].decode()


def head_of(cookie: str) -> Mapping[bytes, bytes]:
    """Return the head of a request with a cookie."""
    return {b"cookie": cookie.encode()}
