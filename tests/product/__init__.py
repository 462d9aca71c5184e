"""What the product's documents show to type: `examples.toml` has it, the tests beside it run it."""
