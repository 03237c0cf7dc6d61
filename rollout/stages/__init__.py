"""What does this state do? One file a state, each a pure function from the past and the world to one step."""
