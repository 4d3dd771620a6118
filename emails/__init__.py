"""Mails: templates and rendering, building, signing, sending, and reading what comes back. Imports nothing of ours."""
