"""What is measured. Each module has one question, and returns an Outcome."""
