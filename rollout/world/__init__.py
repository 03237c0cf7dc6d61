"""What is there now: objects and traffic, each with its age, and the same with one object changed."""
