"""A fleet of virtual nodes, for rehearsals and tests: real decisions and real HTTP, made-up machines and answers."""
