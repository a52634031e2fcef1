"""A module of one's own: what is found of it, and every way to write it wrong."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qhq.ansatz.assemble import build
from qhq.ansatz.spec import AnsatzSpec
from qhq.backends.local.statevector import StatevectorExecutor
from qhq.errors import ConfigError
from qhq.models.hybrid import Shape
from qhq.models.own import build_own, wrap
from qhq.models.own_forecaster import CircuitStandIn
from qhq.models.source import read_source
from qhq.models.spec import MiddleSpec, ModelSpec
from qhq.quantum.layer import QuantumLayer
from qhq.training.losses import open_objective
from qhq.training.spec import TrainingSpec

SHAPE = Shape(features=2, horizon=1, targets=1, window=5)
ANSATZ = build(AnsatzSpec(qubits=2))

GOOD = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, shape, circuit):
        super().__init__()
        self.shape, self.quantum = shape, circuit
        self.before = nn.Linear(shape.window * shape.features, circuit.num_inputs)
        self.after = nn.Linear(circuit.num_outputs, shape.horizon * shape.targets)

    def forward(self, windows):
        values = self.quantum(self.before(windows.flatten(1)))
        return self.after(values).reshape(-1, self.shape.horizon, self.shape.targets)

def build(shape, circuit):
    return Mine(shape, circuit)
"""

FORWARD = "        values = self.quantum(self.before(windows.flatten(1)))\n"
RETURN = "        return self.after(values).reshape(-1, self.shape.horizon, self.shape.targets)\n"
STEPWISE = """\
        state = torch.zeros(len(windows), 2)
        for step in windows.unbind(1):
            state = self.quantum(torch.tanh(step + state))
        values = state + self.before(windows.flatten(1))
"""


def layer(seed: int = 3) -> QuantumLayer:
    return QuantumLayer(ANSATZ, StatevectorExecutor(ANSATZ, threads=1), seed=seed, scale_inputs=True)


@pytest.fixture
def own(tmp_path, cache):
    """Build the module of a file's text."""

    def own(text: str = GOOD, *, quantum: QuantumLayer | None = None, shape: Shape = SHAPE, **keys):
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text))
        spec = ModelSpec(file=str(path), **keys)
        source = read_source(spec)
        quantum = layer() if quantum is None and "middle" not in keys else quantum
        return build_own(spec, source, shape, quantum=quantum, seed=1)

    return own


def windows(count: int = 8) -> torch.Tensor:
    values = np.random.default_rng(0).normal(size=(count, SHAPE.window, SHAPE.features))
    return torch.tensor(values, dtype=torch.float32)


def test_what_stands_before_and_behind_the_circuit_is_found(own):
    model = own()
    sizes = {part: [tuple(each.shape) for each in tensors] for part, tensors in model.parts().items()}
    assert sizes == {"encoder": [(2, 10), (2,)], "circuit": [(2,)], "head": [(1, 2), (1,)]}
    assert [(stage.name, stage.shape) for stage in model.found.stages] == [
        ("before", (2,)), ("quantum", (2,)), ("after", (1,)),
    ]  # fmt: skip
    assert model.found.rows == (1,)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_compiled_part_takes_no_hook_and_is_no_stage(own):
    compiled = "nn.Linear(circuit.num_outputs, shape.horizon * shape.targets)"
    model = own(GOOD.replace(compiled, f"torch.jit.script({compiled})"))
    assert [stage.name for stage in model.found.stages] == ["before", "quantum"]
    assert model(torch.zeros(2, 5, 2)).shape == (2, 1, 1)


def test_the_verbs_of_an_evaluation_together_are_the_forward_pass(own):
    model = own().eval()
    latent = model.encode(windows())
    with torch.no_grad():
        angles, whole = model.angles(latent), model(windows())
    values = model.quantum.neural_network.executor.expectations(angles.numpy(), model.quantum.weight.detach())
    np.testing.assert_allclose(model.decode(latent, torch.as_tensor(values)), whole, atol=1e-6)
    np.testing.assert_allclose(model.middle(latent), values, atol=1e-6)
    assert float(angles.abs().max()) <= np.pi


def test_a_circuit_called_at_each_step_is_heard_and_replayed_call_by_call(own):
    model = own(GOOD.replace(FORWARD, STEPWISE)).eval()
    assert model.stepwise
    assert model.found.rows == (1,) * SHAPE.window
    latent = model.encode(windows())
    with torch.no_grad():
        whole = model(windows())
    middle = model.run_on(StatevectorExecutor(ANSATZ), latent)
    assert middle.shape == (8, 2 * SHAPE.window)
    np.testing.assert_allclose(model.decode(latent, middle), whole, atol=1e-6)
    assert model.angles(latent).shape == (8, SHAPE.window, 2)


def test_several_rows_a_window_in_one_call_are_known_beforehand(own):
    text = GOOD.replace(
        FORWARD, "        values = self.quantum(windows).mean(1) + 0 * self.before(windows.flatten(1))\n"
    )
    model = own(text)
    assert not model.stepwise
    assert model.found.rows == (SHAPE.window,)
    assert model.angles(model.encode(windows())).shape == (8, SHAPE.window, 2)


def test_static_features_are_the_second_argument(own):
    text = GOOD.replace("def forward(self, windows)", "def forward(self, windows, static)").replace(
        "self.after(values)", "(self.after(values) + static[:, :1])"
    )
    model = own(text, shape=Shape(2, 1, 1, static=3, window=5)).eval()
    static = torch.ones(8, 3)
    latent = model.encode(windows(), static)
    with torch.no_grad():
        whole = model(windows(), static)
        np.testing.assert_allclose(model.decode(latent, model.middle(latent)), whole, atol=1e-6)


def test_a_distribution_has_as_many_values_a_target_as_the_loss_says(own):
    objective = open_objective(TrainingSpec(loss="gaussian"))
    objective.fitted = objective.start(torch.randn(20, 1, 1))
    shape = replace(SHAPE, objective=objective)
    with pytest.raises(ConfigError, match=r"2 values a target \(B, H, K, V\).*shape.targets, shape.values\)"):
        own(shape=shape)
    text = GOOD.replace("shape.horizon * shape.targets)", "shape.horizon * shape.targets * shape.values)")
    model = own(text.replace("self.shape.targets)", "self.shape.targets, self.shape.values)"), shape=shape)
    outputs = model.outputs(windows()).detach()
    np.testing.assert_array_equal(model(windows()).detach(), outputs[..., 0])
    latent = model.encode(windows())
    found = model.quantiles(latent, model.middle(latent)).detach()
    np.testing.assert_allclose(found[..., 3], outputs[..., 0], atol=1e-6)
    assert (found.diff(dim=-1) > 0).all()


def test_a_model_that_starts_at_zero_leaves_it_with_its_first_weights(own):
    model = own()
    drawn = model(windows()).detach()
    model.start_at_zero()
    assert not model(windows()).any()
    untrained, weights = model.untrained_state(), dict(model.state_dict())
    model.load_state_dict(weights)
    np.testing.assert_array_equal(model(windows()).detach(), drawn)
    model.load_state_dict(untrained)
    assert not model(windows()).any()


def test_the_seed_draws_the_weights(own):
    one, same = own().state_dict(), own().state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)


def test_trying_a_module_out_leaves_no_trace(own):
    text = GOOD.replace(
        "self.before = nn.Linear(", "self.norm = nn.BatchNorm1d(10)\n        self.before = nn.Linear("
    ).replace("self.before(windows.flatten(1))", "self.before(self.norm(windows.flatten(1)))")
    model = own(text)
    assert int(model.module.norm.num_batches_tracked) == 0
    assert model.training


def test_the_classical_baseline_stands_in_the_circuits_place(own):
    model = own(middle=MiddleSpec(hidden=3, outputs=2), latent=2)
    assert model.quantum is None
    assert isinstance(model.module.quantum, CircuitStandIn)
    assert sum(each.numel() for each in model.parts()["circuit"]) == 3 * (2 + 1 + 2)
    latent = model.encode(windows())
    with torch.no_grad():
        np.testing.assert_array_equal(model.decode(latent, model.middle(latent)), model(windows()))


def test_a_file_is_the_whole_model():
    with pytest.raises(ValueError, match="so that dropout would be ignored"):
        ModelSpec(file="mine.py", dropout=0.1)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


FOUND = RETURN.replace("return ", "found = ")

WRONG = {
    "no build": ("model = 1\n", "define build", "no such function"),
    "a build of another name": (changed("def build(", "def make("), "define build", "Mine, make"),
    "no Python": ("def build(:\n", "run without an error", "SyntaxError"),
    "raises while it is read": ("import no_such_package\n", "run without an error", "ModuleNotFoundError"),
    "leaves the process": ("raise SystemExit(3)\n", "run without an error", "SystemExit"),
    "another signature": (changed("def build(shape, circuit)", "def build(shape)"), "be built", "TypeError"),
    "raises": (
        changed("    return Mine(shape, circuit)", "    return 1 / 0"),
        "be built",
        "ZeroDivisionError",
    ),
    "returns nothing": (changed("    return Mine(", "    Mine("), "be a torch module", "NoneType"),
    "returns no module": (
        changed("    return Mine(shape, circuit)", "    return Mine"),
        "be a torch module",
        "type",
    ),
    "fails on windows": (changed("windows.flatten(1)", "windows"), "run on windows", "RuntimeError"),
    "another shape": (changed(RETURN, "        return self.after(values)\n"), "(4, 1, 1)", "(4, 1)"),
    "no tensor": (changed(RETURN, "        return [values]\n"), "return a tensor", "list"),
    "NaN": (changed("self.after(values)", "self.after((-values * values - 1).log())"), "finite", "NaN"),
    "no quantum layer": (
        changed("self.quantum = shape, circuit", "self.quantum = shape, nn.Identity()"),
        "have a quantum layer in it",
        "none of which",
    ),
    "two quantum layers": (
        changed(
            "self.before =",
            "from copy import deepcopy\n        self.other = deepcopy(circuit)\n        self.before =",
        ),
        "one quantum layer",
        "quantum, other",
    ),
    "a layer of its own": (
        "import qhq\n"
        + changed(
            "shape, circuit\n        self.before",
            "shape, qhq.QuantumLayer('reference', qubits=2)\n        self.before",
        ),
        "use the circuit that build is given",
        "of its own",
    ),
    "a layer that is not called": (
        changed(FORWARD, "        values = self.before(windows.flatten(1))\n"),
        "call its circuit",
        "not asked",
    ),
    "another device": (
        changed("circuit.num_inputs)", "circuit.num_inputs, device='meta')"),
        "on the CPU",
        "meta",
    ),
    "a buffer elsewhere": (
        changed(
            "self.before =", "self.register_buffer('b', torch.ones(3, device='meta'))\n        self.before ="
        ),
        "on the CPU",
        "'b' on meta",
    ),
    "a lazy module": (
        changed("nn.Linear(shape.window * shape.features, ", "nn.LazyLinear("),
        "know the size",
        "lazy",
    ),
    "one tensor twice": (
        changed(
            "self.before =",
            "self.twin, self.twice = nn.Linear(2, 1), nn.Linear(2, 1)\n"
            "        self.twice.weight = self.twin.weight\n        self.before =",
        ),
        "each tensor once",
        "twin.weight",
    ),
    "forecasts at random": (
        changed("self.after(values)", "(self.after(values) + torch.rand(len(values), 1))"),
        "same of the same windows",
        "another forecast",
    ),
    "windows that mix": (
        changed("self.after(values)", "(self.after(values) - values.mean())"),
        "each window by itself",
        "among others",
    ),
    "changes its input": (
        changed(FORWARD, "        windows += 1\n" + FORWARD),
        "leave the windows",
        "in place",
    ),
    "a list of parameters": (
        changed("self.before =", "self.loose = [nn.Parameter(torch.ones(2))]\n        self.before =").replace(
            "self.after(values)", "self.after(values * self.loose[0])"
        ),
        "register what it trains",
        "shape (2,)",
    ),
    "nothing to train": (
        changed("self.after(values)", "self.after(values).detach()"),
        "have parameters to train",
        "without a gradient",
    ),
    "a graph that is cut in place": (
        changed("self.after(values)", "self.after(values.exp().mul_(2).exp_().mul_(3))"),
        "gradients that torch can take",
        "RuntimeError",
    ),
    "rows in another order": (
        changed(
            FORWARD,
            "        values = self.before(windows.flatten(1))\n"
            "        values = values + self.quantum(windows.transpose(0, 1)).mean(0)\n",
        ),
        "rows of each window together",
        "in another order",
    ),
    "another shape in training": (
        changed(
            RETURN,
            RETURN.replace("return ", "found = ")
            + "        return found[:, 0] if self.training else found\n",
        ),
        "in training mode give forecasts (B, H, K)",
        "shape (4, 1)",
    ),
    "a tuple in training": (
        changed(
            RETURN,
            RETURN.replace("return ", "found = ") + "        return (found, 1) if self.training else found\n",
        ),
        "in training mode return a tensor",
        "tuple",
    ),
    "NaN in training": (
        changed("self.after(values)", "(self.after(values) / (0 if self.training else 1))"),
        "in training mode give finite",
        "NaN",
    ),
    "random numbers of a fixed seed": (
        changed(
            FORWARD,
            FORWARD + "        torch.manual_seed(0)\n        values = values + torch.rand(len(values), 2)\n",
        ),
        "each window by itself",
        "at another place",
    ),
    "compiled": (
        changed("    return Mine(shape, circuit)", "    return torch.compile(Mine(shape, circuit))"),
        "as it was written",
        "torch.compile",
    ),
    "imports a file beside it": ("from .beside import k\n", "run without an error", "relative import"),
    "whole numbers": (
        changed("self.after(values)", "self.after(values).long()"),
        "forecasts (B, H, K)",
        "int64",
    ),
}


# torch imports what it deprecates itself when it compiles, and Python warns before it refuses an import.
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore::ImportWarning")
@pytest.mark.parametrize("name", WRONG)
def test_every_way_to_write_it_wrong_is_an_error_in_three_parts(own, name):
    text, must, got = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        own(text)
    assert must in caught.value.must
    assert got in caught.value.got
    assert caught.value.fix


def test_what_shows_in_training_alone_is_told_with_its_line_and_prints_nothing(own, capsys):
    """What no trial can see: a batch of another size, and a batch norm that meets a single window."""
    by_size = (
        "        print(1)\n        values = self.after(values)\n"
        "        return values.reshape(-1, 1, 1) if len(values) < 5 else values\n"
    )
    model = own(changed(RETURN, by_size))
    with pytest.raises(ConfigError, match=r"any number of windows.*Got shape \(8, 1\) for 8.*no squeeze"):
        model(windows())
    assert capsys.readouterr().out == ""
    norm = changed("self.before =", "self.norm = nn.BatchNorm1d(2)\n        self.before =")
    model = own(norm.replace(FORWARD, FORWARD.replace("(self.before", "(self.norm(self.before")[:-1] + ")\n"))
    with pytest.raises(ConfigError, match=r"more than 1 value.*mine\.py:\d+\. Take torch.nn.LayerNorm"):
        model.train()(windows(1))


def test_the_line_of_the_fault_is_named(own):
    with pytest.raises(ConfigError, match=r"mine\.py:17"):
        own(changed("    return Mine(shape, circuit)", "    return 1 / 0"))


@pytest.mark.parametrize("name", ["mine.yaml", "missing.py"])
def test_a_file_must_be_python_and_there(tmp_path, name):
    (tmp_path / "mine.yaml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="must be a Python file"):
        read_source(ModelSpec(file=str(tmp_path / name)))


def test_what_a_file_prints_is_no_output(own, capsys):
    own("print('hello')\n" + GOOD)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def sequential(quantum: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(10, 2), quantum, nn.Linear(2, 1), nn.Unflatten(1, (1, 1)))


def test_a_wrapped_module_keeps_its_weights_and_lends_a_copy():
    module = sequential(layer())
    wrapped = wrap(module)
    spec = ModelSpec(file=wrapped.file)
    model = build_own(spec, read_source(spec), SHAPE, quantum=layer(seed=9), seed=1)
    with torch.no_grad():
        np.testing.assert_allclose(model(windows()), module(windows()), atol=1e-6)
        model.quantum.weight += 1
        assert not torch.equal(model.quantum.weight, module[2].weight)


def test_another_circuit_takes_the_place_of_a_wrapped_ones():
    spec = ModelSpec(file=wrap(sequential(layer())).file, middle=MiddleSpec(hidden=4, outputs=2), latent=2)
    model = build_own(spec, read_source(spec), SHAPE, quantum=None, seed=1)
    assert isinstance(model.module[2], CircuitStandIn)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Linear(2, 2), "have a quantum layer"),
        (nn.Sequential(layer(), layer()), "have one quantum layer"),
        ("text", "takes a torch module"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(module, said):
    with pytest.raises(ConfigError, match=said):
        wrap(module)


def test_a_module_in_memory_is_not_found_where_nobody_wrapped_it():
    with pytest.raises(ConfigError, match="opened where the module is"):
        read_source(ModelSpec(file="memory:0123456789ab"))
