"""The pages and dialogs, one .tcss beside each kind."""
