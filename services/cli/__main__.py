"""`python -m services.cli` is the console command `ballotpress`."""

from services.cli import main

main()
