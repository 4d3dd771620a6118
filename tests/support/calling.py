"""Requests to servers of this machine, as httpx makes them. They share what httpx would make for each: the certificates that
it trusts, which cost more than the request, above all where a test asks over and over until a server is ready.
"""

from functools import partial
from typing import Final

import httpx

TRUSTED: Final = httpx.create_ssl_context()

Client: Final = partial(httpx.Client, verify=TRUSTED)
AsyncClient: Final = partial(httpx.AsyncClient, verify=TRUSTED)
get: Final = partial(httpx.get, verify=TRUSTED)
head: Final = partial(httpx.head, verify=TRUSTED)
post: Final = partial(httpx.post, verify=TRUSTED)
request: Final = partial(httpx.request, verify=TRUSTED)
stream: Final = partial(httpx.stream, verify=TRUSTED)
