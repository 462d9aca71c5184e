"""The command line: `firedeck`."""
