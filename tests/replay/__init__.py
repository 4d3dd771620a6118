"""What operators rebuild, check and question while the site runs."""
