"""Replies that are not what they should be: cut off, somebody else's, or whole and wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

HTML = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"


def _truncated(text: str) -> str:
    return text[: len(text) // 2]


def _bits(change: Callable[[str, np.ndarray, bool], np.ndarray]) -> Callable[[str], str]:
    """Change the arrays of a result: of name, array, and whether its circuit learns the readout errors."""

    def spoil(text: str) -> str:
        from ibm_quantum_schemas.common import CompressedTensorModel
        from ibm_quantum_schemas.executor.version_2_0 import QuantumProgramResultModel

        model = QuantumProgramResultModel.model_validate_json(text)
        entries = model.passthrough_data["qiskit_mitigation"]
        readout = {entry["program_item_index"] for entry in entries if entry.get("mitigation") == "trex"}
        for place, item in enumerate(model.data):
            for name, tensor in item.results.items():
                array = change(name, tensor.to_numpy(), place in readout)
                item.results[name] = CompressedTensorModel.from_numpy(np.ascontiguousarray(array))
        return model.model_dump_json()

    return spoil


def _is_register(name: str) -> bool:
    return not name.startswith("measurement_flips.")


def _half_shots(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    return array[..., : array.shape[-2] // 2, :] if _is_register(name) else array


def _no_shots(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    return array[..., :0, :] if _is_register(name) else array


def _half_readout(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    return array[: len(array) // 2] if readout else array


def _fewer_rows(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    # The axis before the bits and the shots that has one place a row.
    return array if readout else np.delete(array, 0, axis=array.ndim - 3 if _is_register(name) else 0)


def _random_readout(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    share = 0.5
    random = np.random.default_rng(0).random(array.shape) < share
    return array ^ random if readout and _is_register(name) else array


def _stretching_readout(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    random = np.random.default_rng(0).random(array.shape) < 0.26
    return array ^ random if readout and _is_register(name) else array


def _lost_flips(name: str, array: np.ndarray, readout: bool) -> np.ndarray:
    return np.zeros_like(array) if readout and not _is_register(name) else array


def _tagged(*tags: str) -> Callable[[str], str]:
    def spoil(text: str) -> str:
        content = json.loads(text)
        content["passthrough_data"]["post_processor"]["options"]["environment"]["job_tags"] = list(tags)
        return json.dumps(content)

    return spoil


def _without(*path: str) -> Callable[[str], str]:
    def spoil(text: str) -> str:
        content: Any = json.loads(text)
        place = content
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        return json.dumps(content)

    return spoil


SPOILED: dict[str, Callable[[str], str]] = {
    "truncated": _truncated,
    "html": lambda _: HTML,
    "empty": lambda _: "",
    "object": lambda _: "{}",
    "list": lambda _: "[]",
    "null": lambda _: "null",
    "number": lambda _: "7",
    "words": lambda _: "Internal error, try again",
    "one_byte_lost": lambda text: text[:100] + text[101:],
    "twice": lambda text: text + text,
    "another_schema": lambda text: text.replace('"v2.0"', '"v9.9"'),
    "no_data": _without("data"),
    "no_passthrough": _without("passthrough_data"),
    "no_role": _without("semantic_role"),
    "of_another_job": _tagged("qhq-another"),
    "of_an_untagged_job": _tagged(),
    "half_shots": _bits(_half_shots),
    "no_shots": _bits(_no_shots),
    "fewer_rows": _bits(_fewer_rows),
    "half_readout": _bits(_half_readout),
    "random_readout": _bits(_random_readout),
    "stretching_readout": _bits(_stretching_readout),
    "lost_flips": _bits(_lost_flips),
}
"""Name -> what becomes of the text of a reply."""
