"""What holds a deployment back: the words of its conditions.

`CapacityLimited` and `RolloutStopped` have one reason each.
"""

CAPACITY_LIMITED, ROLLOUT_STOPPED, QUOTA_EXCEEDED = "CapacityLimited", "RolloutStopped", "QuotaExceeded"
STOCKOUT_REASON, ROLLOUT_STOPPED_REASON = "STOCKOUT", "ROLLOUT_STOPPED"
