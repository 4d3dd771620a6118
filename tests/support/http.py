"""A site to call over HTTP: real processes of the API and the projector on a database of their own, and callers of it."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.catalogs import tool
from tests.support.processes import clean_environ, free_port, wait_for

SCOPES = ("catalog", "moderate", "voters", "read")
OPERATOR_TOKENS = {scope: f"token-of-the-{scope}-operator" for scope in SCOPES} | {"all": "token-of-every-operation"}
PATIENCE = 5.0

_numbers = itertools.count(1)


def environ(dsn: str, valkey_url: str, **more: str) -> dict[str, str]:
    """Make the environment of the site's processes; the limits are out of the way."""
    tokens = [f"{scope}:{scope}:{OPERATOR_TOKENS[scope]}" for scope in SCOPES]
    tokens.append(f"all:{'+'.join(SCOPES)}:{OPERATOR_TOKENS['all']}")
    values = {
        "DATABASE_URL": dsn,
        "REDIS_URL": valkey_url,
        "BALLOTPRESS_HOME": "/nonexistent",
        "BALLOTPRESS_SECRET_KEYS": "a-secret-key-of-the-api-tests-32c",
        "BALLOTPRESS_VAULT_KEYS": "B" * 43 + "=",
        "BALLOTPRESS_OPERATOR_TOKENS": ",".join(tokens),
        "BALLOTPRESS_WRITES_PER_MINUTE": "1000000",
        "BALLOTPRESS_NETWORK_WRITES_PER_MINUTE": "1000000",
        "BALLOTPRESS_NEW_VISITORS_PER_HOUR": "1000000",
    }
    return clean_environ(**{**values, **more})


@contextmanager
def process(log: Path, environment: Mapping[str, str], *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a command of ours for a while."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            (sys.executable, "-P", "-m", "services.cli", *words), env=dict(environment), stdout=output, stderr=output
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(5)


def wait_until_ready(base_url: str, log: Path) -> None:
    """Wait until the API can serve, or fail with what its processes said."""

    def is_ready() -> bool:
        try:
            return httpx.get(f"{base_url}/health/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    assert wait_for(is_ready, 30), log.read_text()[-2000:]


@contextmanager
def running(dsn: str, valkey_url: str, log: Path) -> Iterator["Site"]:
    """Run the API and the projector for a while."""
    environment, port = environ(dsn, valkey_url), free_port()
    base_url = f"http://127.0.0.1:{port}"
    with process(log, environment, "api", "--port", str(port)), process(log, environment, "projector"):
        wait_until_ready(base_url, log)
        with httpx.Client(base_url=base_url, timeout=20) as client:
            yield Site(client)


class Caller:
    """Somebody who calls the site: nobody in particular, a visitor, or an operator."""

    def __init__(self, client: httpx.Client, token: str | None = None, visitor: str = "") -> None:
        self._client = client
        self.token = token
        self.visitor = visitor

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Make one request; a body is sent as JSON. Cookies are never kept."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        request = self._client.build_request(method, path, json=body, headers={**sent, **(headers or {})})
        request.headers.pop("cookie", None)
        answer = self._client.send(request)
        self._client.cookies.clear()
        return answer

    def get(self, path: str, headers: Mapping[str, str] | None = None, **parameters: Any) -> httpx.Response:
        """GET with query parameters; a trailing underscore of a name is left out."""
        query = httpx.QueryParams({name.rstrip("_"): value for name, value in parameters.items()})
        return self.call("GET", f"{path}?{query}" if parameters else path, headers=headers)

    def put(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """PUT."""
        return self.call("PUT", path, body, headers)

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """POST."""
        return self.call("POST", path, body, headers)

    def patch(self, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """PATCH."""
        return self.call("PATCH", path, body, headers)

    def delete(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """DELETE."""
        return self.call("DELETE", path, headers=headers)

    def vote(self, tool: str, choice: str) -> int:
        """Vote, and give the position."""
        answer = self.put(f"/v1/tools/{tool}/vote", {"choice": choice})
        assert answer.status_code == 200, answer.text
        position: int = answer.json()["position"]
        return position


class Site:
    """The site, and whoever calls it."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.anyone = Caller(client)
        self.operator = Caller(client, OPERATOR_TOKENS["all"])

    def operator_for(self, scope: str) -> Caller:
        """Give an operator with one scope."""
        return Caller(self.client, OPERATOR_TOKENS[scope])

    def visitor(self) -> Caller:
        """Make a visitor."""
        made = self.anyone.post("/v1/visitors").json()
        return Caller(self.client, made["token"], made["visitor"])

    def head(self) -> int:
        """Give the position of the log's head."""
        position: int = self.operator.get("/v1/ops/status").json()["head"]["position"]
        return position

    def add_tool(self, **fields: Any) -> str:
        """Add a listed tool of the test's own; give its slug once the views know it."""
        slug = fields.setdefault("slug", f"tool-{next(_numbers)}")
        self.import_catalog({"tools": [tool(**fields)]})
        return str(slug)

    def import_catalog(self, catalog: object) -> int:
        """Import a catalog; give how many events it took, once the views have them."""
        answer = self.operator.post("/v1/ops/catalog", catalog)
        assert answer.status_code == 200, answer.text
        assert self.anyone.get("/v1/categories", after=self.head()).status_code == 200
        appended: int = answer.json()["appended"]
        return appended


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Assert that an answer is a problem of this status, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    return problem


def pointers(problem: dict[str, Any]) -> list[str]:
    """Give the places that a problem names."""
    return [error["pointer"] for error in problem["errors"]]


def own_database_name() -> str:
    """Name a database that no other run uses."""
    return f"api_{os.getpid()}_{time.monotonic_ns()}"
