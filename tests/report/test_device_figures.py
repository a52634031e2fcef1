"""The map of a device and a circuit on it: neighbours side by side, texts apart, and no trace."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.ansatz.stored import ansatz_fingerprint
from qhq.backends.devices.calibration import list_fakes, load_fake
from qhq.backends.registry import place_on
from qhq.report.device_figures import draw_placement, lay_out_map


def test_neighbours_of_every_device_are_side_by_side_and_no_two_qubits_share_a_place():
    apart = {}
    for name in list_fakes():
        device = load_fake(name)
        pairs = sorted({(min(pair), max(pair)) for pair in device.configuration.get("coupling_map") or []})
        places = lay_out_map(device.num_qubits, pairs)
        assert np.isfinite(places).all()
        distance = np.linalg.norm(places[:, None] - places[None], axis=2)
        if pairs:
            longest = max(distance[one, other] for one, other in pairs)
            apart[name] = (distance[~np.eye(len(places), dtype=bool)].min(), longest)
    assert all(shortest > 0.5 for shortest, _ in apart.values())
    assert all(longest < 1.6 for _, longest in apart.values())
    # Rows of numbers make a grid of nearly all of them.
    assert sum(longest == 1.0 for _, longest in apart.values()) > 0.9 * len(apart)


@pytest.mark.parametrize("device", ["fake_nairobi", "fake_fez", "aer_noisy"])
@pytest.mark.parametrize(("qubits", "depth"), [(2, 1), (6, 2)])
def test_a_placement_is_drawn_without_a_trace_and_its_texts_are_apart(device, qubits, depth):
    ansatz = build(AnsatzSpec(qubits=qubits, depth=depth))
    placement = place_on(ansatz, device)

    def trace():
        numbers = np.random.get_state()[1].tolist()  # noqa: NPY002
        return ansatz_fingerprint(ansatz), random.getstate(), numbers, torch.random.get_rng_state().tolist()

    before = trace()
    figure = draw_placement(placement)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert trace() == before
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()))
        for axes in figure.axes
        for text in axes.texts
    ]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.padded(-1.5).overlaps(second.padded(-1.5)), (one, other)


def test_the_command_has_tables_and_a_picture(qhq, study):
    words = ("circuit", "layout", "reference", "--isa", "fake_nairobi")
    answer = qhq(*words, "--qubits", "3", "--output", "layout.svg", "--json")
    facts = json.loads(answer.stdout)
    assert {each["logical"] for each in facts["qubits"]} == {0, 1, 2}
    assert sum(each["times"] for each in facts["gates"]) > 0
    assert (study / "layout.svg").read_text().startswith("<?xml")
    assert "idle ns" in qhq(*words).stdout
    assert "needs a backend with a device" in qhq("circuit", "layout", "reference", "--isa", "aer").stderr
