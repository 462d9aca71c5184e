"""Models of simulated fleets, as their TOML has them."""

SIMULATED_8B = """
[[model]]
id = "simulated-8b"
size = "16GB"
layers = 32
kv_heads = 8
head_size = 128
embedding = 4096
feed_forward = 14336
vocabulary = 128256
context_length = 131072
"""
