"""The HTTP kit: requests, answers, limits and pages. It knows no subject."""
