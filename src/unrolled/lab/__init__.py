"""Training many nets at once on formal languages, and measuring what they learned."""
