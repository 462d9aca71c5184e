"""Where the picture of the fleet comes from; one Protocol, several sources."""
