"""Backups of the private PostgreSQL of `ballotpress up`, their restoring, and the drill that tries one."""
