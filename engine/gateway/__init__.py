"""The way of one inference request: who, what, a place, stream through, account. One way, no going back."""
