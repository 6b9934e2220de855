"""Numbers that look random and are the same everywhere: SHAKE-256 of a name."""

from __future__ import annotations

import hashlib

import numpy as np


def noise(name: str, count: int) -> np.ndarray:
    """int64[count] of 0..255 that the name decides."""
    return np.frombuffer(hashlib.shake_256(name.encode()).digest(count), np.uint8).astype(np.int64)


def product(name: str, shape: tuple[int, ...], size: float) -> dict[str, np.ndarray]:
    """Weights -20..20 for rescaled sums of about `size`, and biases that are positive mostly: few features are dead."""
    weights = noise(name, int(np.prod(shape))).reshape(shape) % 41 - 20
    squares = (weights.reshape(-1, shape[-1]) ** 2).sum(axis=0)
    return {
        f"{name}.weight": weights.astype(np.int8),
        f"{name}.bias": (noise(f"{name}.bias", shape[-1]) * 32 - 1024).astype(np.int32),
        f"{name}.scale": (size / (100 * np.sqrt(squares) + 1)).astype(np.float32),
    }
