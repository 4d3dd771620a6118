"""Traces where a collector is named. Nothing of OpenTelemetry is imported otherwise."""

from typing import TYPE_CHECKING

from services.setting_table import SettingsError
from services.settings import Settings

if TYPE_CHECKING:
    from services.tracing.tracing import Tracing


def open_tracing(settings: Settings, kind: str) -> "Tracing | None":
    """Return the traces of a process of this kind, None if no collector is named. Raises SettingsError without the extra."""
    if settings.tracing.endpoint is None:
        return None
    try:
        from services.tracing.tracing import Tracing
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry isn't installed: install ballotpress[otel]"
        ) from None
    return Tracing(settings, kind)
