"""The OpenAPI 3.1 document, built from the endpoints' declarations, and its page, which needs no network.

Schemas are msgspec's, of the Structs that bodies are decoded into, so document and behaviour can't drift apart.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler

from services.identity import Identity
from services.web.http.answers import PUBLIC, encoder
from services.web.http.assets import VARIES, file_route
from services.web.http.call import ANYONE, KEY
from services.web.http.endpoints import PATH_PATTERNS, Operation
from services.web.http.problems import MEDIA, ProblemDetails
from services.web.http.theme import MEDIA_OF

OURS: Final = Identity().site_name
_INFO: Final[dict[str, object]] = {
    "description": "Votes, bookmarks, reviews and the newsletter of a site that compares tools two at a time. "
    "Times are UTC (RFC 3339); refusals are problems (RFC 9457).",
    "contact": {"name": "The operators of this site"},
    "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
}
_STATIC: Final = Path(__file__).parent / "static"
_TEMPLATE: Final = "#/components/schemas/{name}"
# The page fetches this site only; its components style themselves inline.
_PAGE_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_SECURITY: Final[Mapping[str, object]] = {
    "visitorToken": {"type": "http", "scheme": "bearer", "description": "A token of POST /v1/visitors."},
    "visitorCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "ballotpress_visitor",
        "description": "The same token as a cookie. On https its name is `__Host-ballotpress_visitor`.",
    },
    "operatorToken": {"type": "http", "scheme": "bearer", "description": "An operator's token with the scope."},
    "manageToken": {"type": "http", "scheme": "bearer", "description": "The token of a mail's link to the preferences."},
    "linkToken": {"type": "apiKey", "in": "query", "name": "token", "description": "The token of a mail's link."},
    "webhookSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "Ballotpress-Signature",
        "description": "`t=UNIX_TIME,v1=HEX`. HEX is the HMAC-SHA256 of `UNIX_TIME.BODY` under a secret of the webhook. "
        "The time may be at most five minutes off.",
    },
}
_PROOFS: Final = {
    "": "Anybody may call it.",
    "manageToken": "Needs the token of a mail's link to the preferences.",
    "linkToken": "Needs the token of a mail's link.",
    "webhookSignature": "Needs the signature of a mail provider that is set up here.",
}
_REFERENCE: Final = re.compile(rb'"#/components/schemas/([^"]+)"')
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes a repetition of this write answer what the first one did, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY},
}


def documentation(routes: Sequence[HTTPRouteHandler], tags: Mapping[str, str], site_name: str = OURS) -> list[HTTPRouteHandler]:
    """Return the routes that serve the document of these routes, and its page; `tags` is as in `document_of`."""
    operations = [route.opt["operation"] for route in routes if "operation" in route.opt]
    files: list[tuple[str, Callable[[], bytes], bytes]] = [
        (
            "/schema/openapi.json",
            lambda: encoder.encode(document_of(operations, tags, site_name)),
            b"application/vnd.oai.openapi+json;version=3.1",
        ),
        ("/schema", lambda: _page(site_name), MEDIA_OF[".html"]),
        ("/schema/schema.css", (_STATIC / "schema.css").read_bytes, MEDIA_OF[".css"]),
        ("/schema/openapi-explorer.js", (_STATIC / "openapi-explorer.js").read_bytes, MEDIA_OF[".js"]),
    ]
    return [file_route(path, make, media, (*PUBLIC, VARIES, _PAGE_POLICY)) for path, make, media in files]


def _page(site_name: str) -> bytes:
    return (_STATIC / "schema.html").read_text("utf-8").replace("SITE-NAME", escape(site_name)).encode("utf-8")


def document_of(operations: Sequence[Operation], tags: Mapping[str, str], site_name: str = OURS) -> dict[str, Any]:
    """Return the document of these operations; `tags` says of each first step of a path what it is about."""
    schemas, components = _components(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": site_name} | _INFO | {"version": version("ballotpress")},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": tags[name]} for name in sorted({_tag(o) for o in operations} & tags.keys())],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _reachable(paths, components), "securitySchemes": _SECURITY},
    }


def _components(operations: Sequence[Operation]) -> tuple[dict[type, Mapping[str, Any]], dict[str, Any]]:
    """Return the reference to each Struct that operations name, and the components that these refer to."""
    named = {struct for o in operations for struct in (o.takes, o.gives, o.reads) if isinstance(struct, type)}
    ordered: list[type] = [*sorted(named, key=lambda struct: struct.__name__), ProblemDetails]
    references, components = msgspec.json.schema_components(ordered, ref_template=_TEMPLATE)
    return dict(zip(ordered, references, strict=True)), _plain(components)


def _plain(schema: Any) -> Any:
    """Return a schema with pairs spelled as arrays of two: generators of clients refuse `"items": false`."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items()}
    if plain.get("items") is False:
        plain["items"], *others = plain.pop("prefixItems")
        if any(other != plain["items"] for other in others):
            raise TypeError(f"clients can't be made for an array of several types: {schema}")
    return plain


def _reachable(paths: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components that the paths refer to, directly or through another."""
    found: set[str] = set()
    wanted = _referred(paths)
    while wanted:
        found |= wanted
        wanted = set().union(*(_referred(components[name]) for name in wanted)) - found
    return {name: components[name] for name in components if name in found}


def _referred(described: Any) -> set[str]:
    return {name.decode("ascii") for name in _REFERENCE.findall(msgspec.json.encode(described))}


def _tag(operation: Operation) -> str:
    return operation.path.split("/")[2 if operation.path.startswith("/v1/") else 1]


def _described(
    operation: Operation, schemas: Mapping[type, Mapping[str, Any]], components: Mapping[str, Any]
) -> dict[str, Any]:
    summary, _, more = operation.summary.partition("\n\n")
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{operation.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": summary,
        "description": "\n\n".join(part for part in (more, _who_may_call(operation)) if part),
        "tags": [_tag(operation)],
        "security": _security(operation),
        "parameters": [*_path_parameters(operation), *_other_parameters(operation, schemas, components)],
        "responses": _responses(operation, schemas),
    }
    body = operation.takes if operation.has_body else operation.reads
    if body is not None:
        media = ("application/json", "application/x-www-form-urlencoded") if operation.form else ("application/json",)
        described["requestBody"] = {"required": True, "content": {name: {"schema": schemas[body]} for name in media}}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    """Return the schemes of which a call needs one; none for a call that anybody may make."""
    if operation.by.kind == "visitor":
        return [{"visitorToken": []}, {"visitorCookie": []}]
    if operation.by.kind == "operator":
        return [{"operatorToken": []}]
    return [{operation.proof: []}] if operation.proof else []


def _who_may_call(operation: Operation) -> str:
    if operation.by.kind == "visitor":
        return "Needs a visitor's token, as a bearer token or in the cookie."
    if operation.by.kind == "operator":
        return f"Needs an operator's token{f' with the scope `{operation.by.scope}`' if operation.by.scope else ''}."
    return _PROOFS[operation.proof]


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    names = [step[1:-1] for step in operation.path.split("/") if step.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": PATH_PATTERNS[name]}}
        for name in names
    ]


def _other_parameters(
    operation: Operation, schemas: Mapping[type, Mapping[str, Any]], components: Mapping[str, Any]
) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [_IDEMPOTENCY_KEY] if operation.has_key else []
    parameters += [
        {"name": name, "in": "header", "description": what, "schema": {"type": "string"}}
        for name, what in operation.headers.items()
    ]
    if operation.takes and not operation.has_body:
        schema = components[schemas[operation.takes]["$ref"].rpartition("/")[2]]
        for name, of in schema["properties"].items():
            required = {"required": True} if name in schema.get("required", ()) else {}
            parameters.append({"name": name, "in": "query", **required, "schema": _without_null(of)})
    return parameters


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out null, which no query can express, and the default that stands for its absence."""
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" in kept:
        kept["anyOf"] = [choice for choice in kept["anyOf"] if choice != {"type": "null"}]
        if len(kept["anyOf"]) == 1:
            kept |= kept.pop("anyOf")[0]
    return kept


def _responses(operation: Operation, schemas: Mapping[type, Mapping[str, Any]]) -> dict[str, Any]:
    responses = {str(status): _response(operation, status, schemas) for status in operation.statuses}
    for status in sorted(implied(operation) | set(operation.problems)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA.decode("ascii"): {"schema": schemas[ProblemDetails]}},
        }
    return responses


def _response(operation: Operation, status: int, schemas: Mapping[type, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(operation.gives, bytes):
        content: dict[str, Any] = {operation.gives.decode("ascii"): {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": schemas[operation.gives]}}
        content |= {media: {"schema": {"type": "string"}} for media in operation.streams}
    described = {"description": HTTPStatus(status).phrase}
    return described if status in (204, 301, 304) else {**described, "content": content}


def implied(operation: Operation) -> set[int]:
    """Return the statuses of refusals that follow from an operation's caller and input."""
    found = {400, 431}  # a head that can't be read or is too large, on any route
    if operation.has_body:
        found |= {408, 413, 415}
    if "{" in operation.path:
        found.add(404)
    if operation.by != ANYONE:
        found.add(401)
    if operation.by.kind == "operator" or (operation.is_write and operation.sender != "anyone"):
        found.add(403)
    if operation.by.kind == "operator" or (operation.by == ANYONE and operation.is_write and operation.counted):
        found.add(429)
    if operation.has_key:
        found.add(422)
    if operation.is_write and operation.by.kind == "visitor":
        found.add(429)
    if operation.path.startswith("/v1/"):
        found.add(503)
    return found
