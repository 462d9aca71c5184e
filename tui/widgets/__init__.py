"""Widgets: they draw what they are given and own no input or output."""
