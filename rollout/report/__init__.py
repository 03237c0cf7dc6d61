"""What people see: one file a format, pure functions of runs and events."""
