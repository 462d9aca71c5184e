"""The dashboard: app -> screens -> widgets -> core (no Textual); the fleet comes from `sources`."""
