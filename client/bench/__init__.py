"""A load generator for any OpenAI-compatible endpoint: closed and open loops, figures, sizing. `firedeck bench`."""
