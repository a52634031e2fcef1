import random

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from qhq.ansatz.draw import _DRAWING_FORMS, draw_circuit, draw_latex, draw_text
from qhq.backends.local.aer import AerExecutor
from qhq.errors import ConfigError
from tests.ansatz.circuits import SPECS, built

pytestmark = pytest.mark.painted


STARTS = {"txt": b"", "png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "tex": b"\\documentclass"}


@pytest.mark.parametrize("form", _DRAWING_FORMS)
def test_each_form_is_drawn_the_same_twice(tmp_path, form):
    paths = [tmp_path / f"{name}.{form}" for name in ("one", "two")]
    for path in paths:
        draw_circuit(built("ry"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_bytes().startswith(STARTS[form])


@pytest.mark.parametrize("name", SPECS)
def test_every_parameter_is_readable_in_the_text(name):
    ansatz = built(name)
    text = draw_text(ansatz)
    assert all(parameter.name in text for parameter in ansatz.parameters)


@pytest.mark.parametrize("form", ["txt", "svg"])
def test_drawing_runs_nothing_and_draws_no_random_number(tmp_path, monkeypatch, form):
    monkeypatch.setattr(AerExecutor, "__init__", None)
    monkeypatch.setattr(torch.nn.Module, "__call__", None)
    ansatz = built("ry")
    before = (random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state())  # noqa: NPY002
    draw_circuit(ansatz, tmp_path / f"circuit.{form}")
    after = (random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state())  # noqa: NPY002
    assert before[0] == after[0]
    np.testing.assert_equal(after[1], before[1])
    np.testing.assert_equal(after[2].numpy(), before[2].numpy())


def test_drawing_leaves_the_circuit_and_no_open_figure(tmp_path):
    ansatz = built("ry")
    copy = ansatz.circuit.copy()
    draw_circuit(ansatz, tmp_path / "circuit.png")
    assert ansatz.circuit == copy
    assert plt.get_fignums() == []


def test_an_unknown_ending_names_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'png'"):
        draw_circuit(built("ry"), tmp_path / "circuit.pngg")


def test_an_unwritable_path_is_named(tmp_path):
    with pytest.raises(ConfigError, match="must be writable"):
        draw_circuit(built("ry"), tmp_path / "nowhere" / "circuit.txt")


def test_latex_is_written_without_latex_and_a_pdf_of_it_is_refused_in_words(tmp_path, monkeypatch):
    ansatz = built("ry")
    draw_latex(ansatz, tmp_path / "circuit.tex")
    source = (tmp_path / "circuit.tex").read_text()
    assert source.startswith("\\documentclass")
    assert source.count("R_Y") == ansatz.num_inputs + ansatz.num_weights
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs pdflatex.*Install TeX Live, write .*\.tex instead"):
        draw_latex(ansatz, tmp_path / "circuit.pdf")
    with pytest.raises(ConfigError, match=r"must end in \.tex or \.pdf"):
        draw_latex(ansatz, tmp_path / "circuit.png")


def test_a_pdflatex_runs_no_program_and_reads_nothing_else(tmp_path, monkeypatch):
    """A stand-in writes down how it was called."""
    program = tmp_path / "pdflatex"
    program.write_text('#!/bin/sh\necho "$@ $openin_any" > circuit.pdf\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    draw_latex(built("ry"), tmp_path / "circuit.pdf")
    assert (tmp_path / "circuit.pdf").read_text().split()[0] == "-no-shell-escape"
    assert (tmp_path / "circuit.pdf").read_text().split()[-1] == "p"
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ConfigError, match="its status 1"):
        draw_latex(built("ry"), tmp_path / "circuit.pdf")
