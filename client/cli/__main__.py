"""`python -m client.cli`: the `firedeck` command where no script is on the path."""

from client.cli.main import main

main(prog_name="firedeck")
