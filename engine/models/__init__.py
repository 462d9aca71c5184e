"""Model files: check (gguf, own_models), know (catalogue), fetch. A leaf: imports nothing of the engine but itself."""
