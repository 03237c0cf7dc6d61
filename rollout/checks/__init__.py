"""Is the namespace ready? One file per check: pure, found by its name, and nothing else to register."""
