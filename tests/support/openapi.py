"""The OpenAPI document of this checkout, as it is served."""

import msgspec

from services.web.app import ROUTES, TAGS
from services.web.http.openapi import document_of

DOCUMENT = msgspec.json.decode(msgspec.json.encode(document_of([route.opt["operation"] for route in ROUTES], TAGS)))
