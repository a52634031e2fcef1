"""A reservoir under the protocol of arXiv:2505.13933, by config alone, beside the formulas in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from scipy.linalg import expm

from qhq.experiment.config import load_config
from qhq.studies.walk_forward.study import train_walk
from qhq.training.loop import Watcher

MONTHS, TESTED, ROWS, INPUTS, HIDDEN = 60, 2, 30, 2, 1
QUBITS = INPUTS + HIDDEN


def reservoir(lags: np.ndarray, unitary: np.ndarray) -> np.ndarray:
    """<Z> of all qubits after lags (3, INPUTS): inputs first, qubit 0 the lowest bit."""
    hidden = np.zeros((2**HIDDEN, 2**HIDDEN), complex)
    hidden[0, 0] = 1
    for row in lags:
        fresh = np.ones((1, 1))
        for x in row:
            amplitudes = np.array([np.cos(np.pi * x / 2), np.sin(np.pi * x / 2)])
            fresh = np.kron(np.outer(amplitudes, amplitudes), fresh)
        state = unitary @ np.kron(hidden, fresh) @ unitary.conj().T
        parts = state.reshape(2**HIDDEN, 2**INPUTS, 2**HIDDEN, 2**INPUTS)
        hidden = np.einsum("aibi->ab", parts)
    signs = 1 - 2 * (np.arange(2**QUBITS)[:, None] >> np.arange(QUBITS) & 1)
    return np.diag(state).real @ signs


def test_rolling_refits_are_those_of_the_paper(study):
    generator = np.random.default_rng(0)
    table = generator.uniform(-1, 1, (MONTHS, INPUTS))
    table[1:, 0] = 0.3 * table[:-1, 0] + 0.2 * table[1:, 1] - 0.4
    couplings = np.triu(generator.uniform(0, 1, (QUBITS, QUBITS)), 1)
    couplings += couplings.T
    np.savetxt("couplings.csv", couplings, delimiter=",")
    dates = pd.date_range("1990-01-31", periods=MONTHS, freq="ME").date
    pd.DataFrame({"Date": dates, "RV": table[:, 0], "MKT": table[:, 1]}).to_csv("monthly.csv", index=False)
    config = load_config(
        {
            "name": "published",
            "backend": "statevector",
            "data": {
                "path": "monthly.csv",
                "format": {"columns": {"rv": "RV", "mkt": "MKT"}},
                "features": ["rv", "mkt"], "targets": ["rv"], "window": 3,
                "horizon": 1, "scaling": "raw",
                "split": {"scheme": "walk_forward", "history": "rolling", "refit_every": 1,
                          "train": (ROWS - 6) / MONTHS, "validation": 6 / MONTHS, "test": 1 - ROWS / MONTHS},
            },
            "quantum": {
                "ansatz": "reservoir", "qubits": QUBITS, "depth": 0,
                "overrides": {"angle_scaling": "pi_clip", "encoding": {
                    "kind": "reservoir", "hidden": HIDDEN, "lags": 3, "time": 0.3, "order": 4, "steps": 2,
                    "reset": True, "hidden_last": True, "couplings": "couplings.csv"}},
            },
            "model": {"kind": "features", "projection": "none", "bandwidth": 1.0, "head": {
                "kind": "ridge", "strengths": [1e-11], "intercept": False, "refit": True}},
            "training": {"dtype": "float64"},
        },
        [f"data.end={dates[ROWS + TESTED - 1]}", f"data.split.test={TESTED / (ROWS + TESTED)}",
         f"data.split.train={(ROWS - 6) / (ROWS + TESTED)}", f"data.split.validation={6 / (ROWS + TESTED)}"],
    )  # fmt: skip
    found = pd.read_csv(train_walk(config, Watcher()).path / "predictions.csv")["forecast"].to_numpy()

    energy = np.zeros((2**QUBITS, 2**QUBITS))
    basis = np.arange(2**QUBITS)
    energy[basis, basis] = (1 - 2 * (basis[:, None] >> np.arange(QUBITS) & 1)).sum(axis=1)
    for one, other in itertools.combinations(range(QUBITS), 2):
        energy[basis, basis ^ (1 << one) ^ (1 << other)] += couplings[one, other]
    unitary = expm(-0.3j * energy)
    features = np.array([reservoir(table[end - 3 : end], unitary) for end in range(3, ROWS + TESTED)])
    targets, wanted = table[3 : ROWS + TESTED, 0], []
    for place in range(ROWS - 3, ROWS + TESTED - 3):
        rows = slice(max(0, place - (ROWS - 3)), place)
        seen = features[rows]
        weights = np.linalg.solve(seen.T @ seen, seen.T @ targets[rows])
        wanted.append(features[place] @ weights)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
