"""The dashboard in a browser: `firedeck web`, on loopback, with a token, read-only unless asked."""
