"""The laboratory: train many models at once on formal languages, and measure what they learned."""
