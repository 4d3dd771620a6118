"""Traces where a collector is named. Nothing of OpenTelemetry is imported otherwise."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from services.setting_table import SettingsError
from services.settings import Settings

if TYPE_CHECKING:
    from services.tracing.tracing import Tracing


def must_be_installed(endpoint: str | None, *, is_off: bool = False) -> None:
    """Check that spans can be sent to a collector, if one is named and traces aren't off. Raises SettingsError."""
    if endpoint and not is_off and find_spec("opentelemetry") is None:
        raise SettingsError("OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry isn't installed: install ballotpress[otel]")


def open_tracing(settings: Settings, kind: str) -> "Tracing | None":
    """Return the traces of a process of this kind, None if no collector is named. Raises SettingsError without the extra."""
    wanted = settings.tracing
    must_be_installed(wanted.endpoint, is_off=wanted.is_off)
    if wanted.endpoint is None or wanted.is_off:
        return None
    from services.tracing.tracing import Tracing

    return Tracing(settings, kind)
