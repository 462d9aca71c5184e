"""The rooms that own side effects: they observe, ask `engine.control`, and do one step.

fleet.py (the verbs) -> keeper.py (one deployment's loop) -> replica.py (one process), lobby.py (requests waiting).
"""
