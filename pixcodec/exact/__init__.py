"""The exact codec: predictors, network, frequencies. Integers and single IEEE operations; no torch but on demand."""
