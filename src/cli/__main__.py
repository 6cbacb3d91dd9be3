"""`python -m src.cli` is `imagebot`."""

from src.cli.main import main

main()
