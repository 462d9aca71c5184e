"""The rooms that own side effects: they observe, ask `engine.control`, and do one step.

fleet.py (the verbs) -> keeper.py (one deployment's loop) -> replica_set.py -> replica.py, vitals.py (one process).
Replicas for which there is no room wait in line.py.
A keeper also has lobby.py (requests waiting), suspects.py and trials.py (requests that killed), rollout.py (settings,
old and new), and record.py and chronicle.py (what it shows and writes down).
"""
