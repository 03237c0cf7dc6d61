"""What happens next? One loop over all runs of the process, and the ways into it."""
