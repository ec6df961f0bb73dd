"""Load a saved model, step it, score with it and write with it: numpy only, never torch."""
