"""Trainable networks, in torch; `training.freeze` turns them into the exact integers of `exact.network`."""
