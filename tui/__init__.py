"""The dashboard: app -> screens -> widgets -> core (no Textual); the fleet comes from `sources`."""

import os

# A key's answer waits for the next frame: with Textual's 60 a second up to 17 ms. Frames without changes are not made.
os.environ.setdefault("TEXTUAL_FPS", "120")
