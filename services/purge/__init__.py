"""Purges: shared caches are told by tags which public pages to forget, as the log moves."""
