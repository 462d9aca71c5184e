"""What the dashboard knows without a screen: rows, states, units, plans, actions, text output. No Textual here."""
