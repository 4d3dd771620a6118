"""The OpenAPI 3.1 document, made of what the endpoints say of themselves, and its page, which needs no network.

Schemas are msgspec's own of the Structs that bodies are decoded into, so document and behaviour can't drift apart.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from services.web.http.answers import PUBLIC, Answer, Versioned, encoder, weak_etag
from services.web.http.bodies import PATH_PATTERNS
from services.web.http.call import ANYONE, KEY, Call
from services.web.http.endpoints import Operation
from services.web.http.problems import MEDIA, Problem

_TEMPLATE: Final = "#/components/schemas/{name}"
_MEDIA_OF: Final = {"html": b"text/html; charset=utf-8", "css": b"text/css", "js": b"text/javascript"}
# The page fetches this site only; its components style themselves inline.
_PAGE_POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
_SECURITY: Final[Mapping[str, object]] = {
    "visitorToken": {"type": "http", "scheme": "bearer", "description": "A token of POST /v1/visitors."},
    "visitorCookie": {"type": "apiKey", "in": "cookie", "name": "ballotpress_visitor"},
    "operatorToken": {"type": "http", "scheme": "bearer", "description": "An operator's token with the scope."},
}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes a repetition of this write answer what the first one did, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": KEY},
}


def documentation(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Make the routes that serve the document of these routes, and the page."""
    operations = [route.opt["operation"] for route in routes if "operation" in route.opt]
    document = encoder.encode(document_of(operations))
    return [
        _served("/schema/openapi.json", document, b"application/vnd.oai.openapi+json;version=3.1"),
        _served("/schema", _static("schema.html"), _MEDIA_OF["html"]),
        *(
            _served(f"/schema/{name}", _static(name), _MEDIA_OF[name.rpartition(".")[2]])
            for name in ("openapi-explorer.js", "schema.css")
        ),
    ]


def _served(path: str, body: bytes, media: bytes) -> HTTPRouteHandler:
    versioned = Versioned(body, weak_etag(blake2b(body, digest_size=9).hexdigest()), media=media, cache=(*PUBLIC, _PAGE_POLICY))

    @get(path, name=f"GET {path}")
    async def serve(request: Call) -> Answer:
        return versioned.answer(request.head.get(b"if-none-match"))

    return serve


def _static(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


def document_of(operations: Sequence[Operation]) -> dict[str, Any]:
    """Write the document of these operations."""
    structs = {struct for o in operations for struct in (o.takes, o.gives) if isinstance(struct, type)}
    ordered: list[type] = [*sorted(structs, key=lambda struct: struct.__name__), Problem]
    references, components = msgspec.json.schema_components(ordered, ref_template=_TEMPLATE)
    schemas = dict(zip(ordered, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ballotpress", "version": version("ballotpress")},
        "servers": [{"url": "/"}],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": components, "securitySchemes": _SECURITY},
    }


def _described(
    operation: Operation, schemas: Mapping[type, Mapping[str, Any]], components: Mapping[str, Any]
) -> dict[str, Any]:
    summary, _, description = operation.summary.partition("\n\n")
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{operation.path.replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": summary,
        "tags": [operation.path.split("/")[2 if operation.path.startswith("/v1/") else 1]],
        "parameters": [*_path_parameters(operation), *_other_parameters(operation, schemas, components)],
        "responses": _responses(operation, schemas),
    }
    if description:
        described["description"] = description
    if operation.takes and operation.has_body:
        media = ("application/json", "application/x-www-form-urlencoded") if operation.is_form else ("application/json",)
        described["requestBody"] = {
            "required": True,
            "content": {name: {"schema": schemas[operation.takes]} for name in media},
        }
    if operation.by.kind == "visitor":
        described["security"] = [{"visitorToken": []}, {"visitorCookie": []}]
    elif operation.by.kind == "operator":
        described["security"] = [{"operatorToken": []}]
    return described


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
    if operation.takes and not operation.has_body:
        schema = components[schemas[operation.takes]["$ref"].rpartition("/")[2]]
        for name, of in schema["properties"].items():
            required = {"required": True} if name in schema.get("required", ()) else {}
            parameters.append({"name": name, "in": "query", **required, "schema": _without_null(of)})
    return parameters


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out null, which no query can say, and the default that stands for its absence."""
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    if "anyOf" in kept:
        kept["anyOf"] = [choice for choice in kept["anyOf"] if choice != {"type": "null"}]
        if len(kept["anyOf"]) == 1:
            kept |= kept.pop("anyOf")[0]
    return kept


def _responses(operation: Operation, schemas: Mapping[type, Mapping[str, Any]]) -> dict[str, Any]:
    responses = {str(status): _response(operation, status, schemas) for status in operation.statuses}
    for status in sorted(_problems_of(operation)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA.decode("ascii"): {"schema": schemas[Problem]}},
        }
    return responses


def _response(operation: Operation, status: int, schemas: Mapping[type, Mapping[str, Any]]) -> dict[str, Any]:
    if isinstance(operation.gives, bytes):
        content: dict[str, Any] = {operation.gives.decode("ascii"): {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": schemas[operation.gives]}}
    described = {"description": HTTPStatus(status).phrase}
    return described if status in (204, 304) else {**described, "content": content}


def _problems_of(operation: Operation) -> set[int]:
    """Add the refusals that follow from an operation's caller and input to those of its rules."""
    found = {400, *operation.problems}  # 400: a head that can't be read, on any route
    if operation.has_body:
        found |= {408, 413, 415}
    if "{" in operation.path:
        found.add(404)
    if operation.by != ANYONE:
        found.add(401)
    if operation.by.kind == "operator":
        found.add(403)
    if operation.is_write and operation.by.kind == "visitor":
        found |= {403, 422, 429}
    if operation.path.startswith("/v1/"):
        found.add(503)
    return found
