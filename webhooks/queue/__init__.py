"""What is sent next, and what became of it."""
