"""Who may do what: roles and the rule of every route, users and their keys, secrets, quotas, ownership."""
