"""Where a program runs on a simulated device, so that its noise can be simulated.

Routing may pass through qubits that hold none of the program's: ten logical qubits of a ring come to twenty
physical ones of a heavy-hex device, and their density matrix would need 16 TiB. A device would not mind. So
where the transpiler's free choice cannot be held, the program is transpiled for a few parts of the device of
as many qubits as it has, quiet ones that hang together, and the best of these is taken: more SWAPs, on fewer
qubits. It is said when that happens, as a device would be given the free choice.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qhq.backends.devices.calibration import CalibratedDevice
from qhq.backends.devices.isa import IsaProgram, build_isa
from qhq.backends.local import SimulatedSpec
from qhq.backends.noisy.noise import NoisyDevice
from qhq.backends.noisy.programs import MOST_DENSITY_QUBITS
from qhq.errors import BackendError

# Physical qubits in use that a method still simulates in seconds.
_MOST_HELD = {"density_matrix": MOST_DENSITY_QUBITS, "statevector": 20}

# Parts of a device that a program is transpiled for.
_PARTS = 4

# What this process has said already.
_TOLD: set[str] = set()

# For each qubit its neighbours, and the error of the gate between them and of the neighbour's readout.
_Cost = Mapping[int, Mapping[int, float]]


def build_smallest_isa(
    circuit: QuantumCircuit,
    parameters: Sequence[Parameter],
    observables: Sequence[SparsePauliOp],
    device: NoisyDevice,
    spec: SimulatedSpec,
) -> IsaProgram:
    """Write a program for a device, on as few of its qubits as the entry's method needs.

    Args:
        circuit: Logical circuit.
        parameters: Its parameters, in the order of the columns of a row of values.
        observables: Operators on its qubits.
        device: Where it runs.
        spec: The entry.

    Raises:
        BackendError: If it does not fit the device.
    """
    isa = build_isa(circuit, parameters, observables, device, spec.transpile)
    most, wanted = _MOST_HELD.get(spec.method), circuit.num_qubits
    free = spec.transpile.layout is None and isinstance(device, CalibratedDevice)
    if most is None or len(isa.qubits) <= most or wanted > most or not free:
        return isa
    assert isinstance(device, CalibratedDevice)
    found = []
    for part in _quiet_parts(_costs(device), wanted):
        smaller = replace(device, calibration=device.calibration.cut(part))
        try:
            inside = build_isa(circuit, parameters, observables, smaller, spec.transpile)
        except BackendError:
            continue  # a part whose gates go one way only, say: there are others
        found.append(replace(_on_device(inside, part, isa.circuit.num_qubits), target=device.target))
    if not found:
        return isa
    # By the probability that no gate fails; one that is broken counts as nearly always, and does not end the
    # sum.
    best = max(found, key=lambda each: sum(np.log1p(-min(error or 0.0, 0.999)) for error in each.errors))
    gates, before = (each.circuit.num_nonlocal_gates() for each in (best, isa))
    _tell(
        f"qhq: the transpiler would use {len(isa.qubits)} qubits of {device.name} for {wanted}, more than can"
        f" be simulated with noise: this circuit is routed within {wanted} of them instead ({gates} two-qubit"
        f" gates in place of {before})\n"
    )
    return best


def _on_device(inside: IsaProgram, part: Sequence[int], qubits: int) -> IsaProgram:
    """A program for a part of a device as one for the whole: qubit k is the part's k-th."""
    circuit = QuantumCircuit(qubits)
    for step in inside.circuit.data:
        circuit.append(step.operation, [part[inside.circuit.find_bit(bit).index] for bit in step.qubits])
    observables = tuple(each.apply_layout(list(part), qubits) for each in inside.observables)
    layout = tuple(part[each] for each in inside.layout)
    return IsaProgram(circuit, inside.parameters, observables, layout, inside.errors)


def _costs(device: CalibratedDevice) -> _Cost:
    target, calibration = device.target, device.calibration
    costs: dict[int, dict[int, float]] = {}
    for name in target.operation_names:
        for place in target.qargs_for_operation_name(name) or ():
            if len(place) == 2 and name != "measure":
                properties = target[name].get(place)
                gate = 0.0 if properties is None or properties.error is None else float(properties.error)
                # Both ways, as a directed gate is turned round by gates on one qubit.
                for one, other in (place, place[::-1]):
                    readout = calibration.qubit(other, "readout_error") or 0.0
                    costs.setdefault(one, {})[other] = gate + readout
    return costs


def _quiet_parts(costs: _Cost, size: int) -> list[tuple[int, ...]]:
    """Sets of neighbouring qubits with little error, half of them chains: rings are routed along these."""
    found: dict[bool, dict[tuple[int, ...], float]] = {True: {}, False: {}}
    for start in costs:
        for chain, parts in found.items():
            chosen, cost = [start], 0.0
            while len(chosen) < size:
                ends = {chosen[0], chosen[-1]} if chain else set(chosen)
                steps = [
                    (error, one, other)
                    for one in ends
                    for other, error in costs[one].items()
                    if other not in chosen
                ]
                if not steps:
                    break
                error, one, other = min(steps)
                cost += error
                if chain and one == chosen[0]:
                    chosen.insert(0, other)
                else:
                    chosen.append(other)
            else:
                parts.setdefault(tuple(sorted(chosen)), cost)
    best = [sorted(parts, key=lambda part: parts[part])[: _PARTS // 2] for parts in found.values()]
    return list(dict.fromkeys(part for each in best for part in each))


def _tell(text: str) -> None:
    """Say something once, and not in every worker."""
    if text not in _TOLD and multiprocessing.parent_process() is None:
        _TOLD.add(text)
        sys.stderr.write(text)
