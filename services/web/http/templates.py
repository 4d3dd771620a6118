"""The pages people see: Jinja2 with everything escaped and nothing undefined, usable without JavaScript, better with it.

Every template extends base.html. No inline script or style anywhere, and nothing from another site: `POLICY` says so, and every
answer that is a page carries it.
"""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.web.filters import FILTERS
from services.web.http.assets import url

POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
)


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = url
    made.filters.update(FILTERS)
    return made


_TEMPLATES: Final = _environment()


def render(template: str, **values: Any) -> bytes:
    """Render a template; jinja2.UndefinedError for a value that it names and doesn't get."""
    return _TEMPLATES.get_template(template).render(values).encode("utf-8")
