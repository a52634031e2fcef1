"""Noise of another strength: k times the generator of every channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.quantum_info import Choi, Kraus, SuperOp
from qiskit_aer.noise import QuantumError

from qhq.backends.executor import FloatArray
from qhq.backends.noise.channels import DeviceNoise
from qhq.errors import BackendError

Matrix = NDArray[np.complexfloating[Any]]


def scale_noise(noise: DeviceNoise, scale: float) -> DeviceNoise:
    """Make noise ``scale`` times as strong: 0 is none, 1 is the noise itself.

    A channel with superoperator S becomes exp(k log S), as if its physics had acted k times as long; the
    readout matrix P becomes I + k (P - I).

    Raises:
        BackendError: If a channel has no logarithm, or a readout error would pass 1.
    """
    if scale == 1:
        return noise
    if scale == 0:
        return replace(noise, channels={}, flips=np.zeros_like(noise.flips))
    # Gates alike share a channel object.
    scaled = {id(error): _scale_channel(error, scale) for error in noise.channels.values()}
    channels = {place: scaled[id(error)] for place, error in noise.channels.items()}
    return replace(noise, channels=channels, flips=_scale_flips(noise.flips, scale))


def _scale_channel(error: QuantumError, scale: float) -> QuantumError:
    from scipy.linalg import expm, logm

    channel = SuperOp(error).data
    if np.linalg.svd(channel, compute_uv=False).min() < 1e-12:
        raise BackendError(
            "A noise channel must have a logarithm to be scaled",
            got="one that loses all it acts on",
            fix="Use noise_scale 1, or a layout without that gate",
        )
    power = np.asarray(expm(scale * logm(channel)), dtype=np.complex128)
    return QuantumError(_nearest_channel(power))


def _nearest_channel(superoperator: Matrix) -> Kraus:
    """Kraus operators of what is a channel up to rounding, or almost one for a broken k."""
    choi = Choi(SuperOp(superoperator)).data
    values, vectors = np.linalg.eigh((choi + choi.conj().T) / 2)
    size = int(np.sqrt(len(values)))
    kept = values > 1e-14
    # Choi stacks columns: vec(K)[i + size * j] = K[i, j].
    operators = [
        np.sqrt(value) * vector.reshape(size, size, order="F")
        for value, vector in zip(values[kept], vectors[:, kept].T, strict=True)
    ]
    # A part below zero was cut off: give the trace back.
    total = sum(each.conj().T @ each for each in operators)
    roots, frame = np.linalg.eigh(total)
    mend = (frame / np.sqrt(roots)) @ frame.conj().T
    return Kraus([each @ mend for each in operators])


def _scale_flips(flips: FloatArray, scale: float) -> FloatArray:
    scaled: FloatArray = scale * flips
    if (scaled > 1).any():
        raise BackendError(
            "A readout error must stay a probability when scaled",
            got=f"{scale:g} times {flips.max():.3g}",
            fix="Use a smaller noise_scale",
        )
    return scaled
