"""Who is told, and what they chose."""
