"""Traces for OpenTelemetry: of requests, batches, windows of views and mails. Imported only where a collector is named.

A span says what was done, when, and at which positions of the log. Never whose: no id, address, token or text gets here.
"""
