"""What happened: the changes, the events that a run is folded from, and the table of its states."""
