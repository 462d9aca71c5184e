"""Replays request traces against autoscaling policies on a virtual clock: one model of a replica for all of them.

Everything here is simulated, and every table says so. Nothing waits, nothing is measured in wall time.
"""
