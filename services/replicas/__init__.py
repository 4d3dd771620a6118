"""Streaming replicas that public reads may go to."""
