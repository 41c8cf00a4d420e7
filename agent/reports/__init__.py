"""What auditors ask for: who has access, by what, and who lost it how fast; signed. Reads only."""
