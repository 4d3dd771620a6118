"""A private PostgreSQL and Valkey for `ballotpress up`, and what keeps it and our own processes running."""
