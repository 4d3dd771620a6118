"""The authorities whose certificates are believed where a site of an operator's choosing is spoken to."""

import ssl

import certifi


def trusted() -> ssl.SSLContext:
    """Return the settings of TLS: this machine's authorities, which may be a company's own, and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
