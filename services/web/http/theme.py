"""The theme: the templates and static files of a site, its own before ours.

A site's folder may hold `templates/` (of the same names as ours, which they replace or extend as `ours/NAME`), `site.css`
(after ours), and `static/` (more files). All of it is read once, at the start, and the site's own templates are checked then.
Ours are compiled when they are first shown: that takes longer than all else of a start.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import BytecodeCache, ChoiceLoader, DictLoader, Environment, PrefixLoader, StrictUndefined, TemplateSyntaxError
from jinja2.bccache import Bucket

from services.identity import Identity
from services.setting_table import SettingsError
from services.web.http.answers import Content

STATIC: Final = Path(__file__).parents[1] / "static"
TEMPLATES: Final = Path(__file__).parents[1] / "templates"
MEDIA_OF: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".jpg": b"image/jpeg",
    ".webp": b"image/webp",
    ".woff2": b"font/woff2",
}


class _Compiled(BytecodeCache):
    """The templates that this process has compiled, by name and text: another site in it needn't compile them anew."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give a template, if it was compiled."""
        bucket.code = self._codes.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a template."""
        self._codes[bucket.key, bucket.checksum] = bucket.code


_COMPILED: Final = _Compiled()


class Theme:
    """The templates and static files of one process."""

    def __init__(self, identity: Identity, filters: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Read everything. Raises SettingsError for a template that doesn't compile, or a file that can't be served."""
        bodies = _bodies(identity)
        self._names = {name: _hashed(name, body) for name, body in bodies.items()}
        self._files = {self._names[name]: Content(body, MEDIA_OF[Path(name).suffix]) for name, body in bodies.items()}
        own = {} if identity.theme is None else _sources(identity.theme / "templates")
        self._environment = _environment(own)
        self._environment.filters.update(filters)
        self._environment.globals.update(values, asset=self.url, site=identity, logo=_logo_name(identity))
        self._check(own)

    def url(self, name: str) -> str:
        """Return the address of a static file by its plain name. Raises KeyError if there is none."""
        return f"/static/{self._names[name]}"

    def file(self, hashed: str) -> Content | None:
        """Return a static file by the name that changes with its content."""
        return self._files.get(hashed)

    def render(self, template: str, **values: Any) -> bytes:
        """Render a template. Raises jinja2.UndefinedError for a value that it names and isn't given."""
        return self._environment.get_template(template).render(values).encode("utf-8")

    def _check(self, own: Iterable[str]) -> None:
        for name in sorted(own):
            try:
                self._environment.get_template(name)
            except TemplateSyntaxError as error:
                raise SettingsError(
                    f"BALLOTPRESS_THEME_DIR holds a template that doesn't compile: "
                    f"templates/{error.name or name}, line {error.lineno}: {error.message}"
                ) from None


def _sources(folder: Path) -> dict[str, str]:
    """Return the templates in a folder by name: what is on disk may be another release's by the time they are shown."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in files}


def _environment(own: Mapping[str, str]) -> Environment:
    ours = DictLoader(_sources(TEMPLATES))
    return Environment(
        loader=ChoiceLoader([DictLoader(own), ours, PrefixLoader({"ours": ours})]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_COMPILED,
    )


def _bodies(identity: Identity) -> dict[str, bytes]:
    """Return the static files by name: ours, those of the theme, the logo, and one sheet with all styles."""
    found = _files_in(STATIC)
    if identity.accent != Identity().accent:
        found["site.css"] += _accent_rules(identity)
    if identity.theme is not None:
        found |= _files_in(identity.theme / "static")
        if (sheet := identity.theme / "site.css").is_file():
            found["site.css"] += b"\n" + sheet.read_bytes()
    if identity.logo is not None:
        found[_logo_name(identity)] = identity.logo.read_bytes()
    return found


def _files_in(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    for path in files:
        if path.suffix not in MEDIA_OF and not path.name.startswith("."):
            raise SettingsError(f"BALLOTPRESS_THEME_DIR holds {path.name}: static files end in {', '.join(MEDIA_OF)}")
    return {path.name: path.read_bytes() for path in files if not path.name.startswith(".")}


def _logo_name(identity: Identity) -> str:
    return "" if identity.logo is None else f"logo{identity.logo.suffix.lower()}"


def _accent_rules(identity: Identity) -> bytes:
    light, dark = identity.accent.light, identity.accent.dark
    return f"\n:root{{--accent:{light}}}@media(prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}".encode()


def _hashed(name: str, body: bytes) -> str:
    return f".{blake2b(body, digest_size=6).hexdigest()}.".join(name.rsplit(".", 1))
