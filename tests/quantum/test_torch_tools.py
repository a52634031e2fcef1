"""What torch's own tools do to a module's weights, they do to a quantum layer's."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from qhq.errors import BackendError
from qhq.quantum import QuantumLayer

WHOLE = "QHQ_FUZZ" in os.environ
"""As ``make fuzz`` sets it."""


@pytest.fixture
def layer():
    return QuantumLayer("reference", qubits=3, depth=2)


def rows():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def values_with(weight):
    other = QuantumLayer("reference", qubits=3, depth=2)
    other.load_state_dict({"weight": weight.detach()})
    return other(rows()).detach()


@pytest.mark.parametrize("method", [prune.l1_unstructured, prune.random_unstructured])
def test_pruning_zeroes_weights_and_trains_the_others(layer, method):
    before = layer.weight.detach().clone()
    method(layer, "weight", amount=2)
    assert (layer.weight == 0).sum() == 2
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(before * layer.weight_mask))
    layer(rows()).sum().backward()
    assert ((layer.weight_orig.grad == 0) == (layer.weight_mask == 0)).all()
    prune.remove(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter)
    assert list(layer.state_dict()) == ["weight"]
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


def test_pruning_repeats_and_goes_by_mask_or_over_modules(layer):
    prune.custom_from_mask(layer, "weight", torch.tensor([1, 0, 1, 1, 1, 1]))
    prune.l1_unstructured(layer, "weight", amount=1)
    prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=1)
    assert layer.weight_mask.sum() == 3
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


class Bounded(nn.Module):
    def forward(self, weight):
        return torch.pi * torch.tanh(weight)


def test_a_parametrization_trains_what_stands_behind_the_weights(layer):
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Bounded())
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(torch.pi * torch.tanh(before)))
    layer(rows()).sum().backward()
    assert layer.parametrizations.weight.original.grad.abs().max() > 0
    parametrize.remove_parametrizations(layer, "weight")
    assert list(layer.state_dict()) == ["weight"]


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_norms_of_the_weights(layer, norm):
    normed = norm(layer)
    np.testing.assert_array_equal(normed(rows()).detach(), values_with(normed.weight))
    normed(rows()).sum().backward()
    assert all(each.grad is not None for each in normed.parameters())


def test_the_average_of_weights_is_a_model(layer):
    average = AveragedModel(layer)
    average.update_parameters(layer)
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.update_parameters(layer)
    np.testing.assert_allclose(average(rows()).detach(), values_with(layer.weight - 0.5), atol=1e-6)


def test_a_replica_of_data_parallel_runs_on_its_own_tensors(layer):
    replica = layer._replicate_for_data_parallel()
    moved = layer.weight * 0.5
    replica.weight = moved
    replica(rows()).sum().backward()
    np.testing.assert_array_equal(replica(rows()).detach(), values_with(moved))
    assert layer.weight.grad.abs().max() > 0


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_loads_strictly(layer, assign):
    other = QuantumLayer("reference", qubits=3, depth=2, seed=7)
    other.load_state_dict(layer.state_dict(), strict=True, assign=assign)
    np.testing.assert_array_equal(other(rows()).detach(), layer(rows()).detach())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_recomputes_the_same_gradients(layer, use_reentrant):
    gradients = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=use_reentrant)):
        inputs = rows().requires_grad_()
        layer.zero_grad()
        run(inputs).square().sum().backward()
        gradients.append((inputs.grad, layer.weight.grad))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_array_equal(one, other)


def test_autocast_hands_over_half_precision_and_takes_it_back(layer):
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(rows())
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert all(each.grad is not None for each in model.parameters())


def test_weights_made_elsewhere_and_moved_here(layer):
    layer.to("meta").to_empty(device="cpu")
    nn.init.uniform_(layer.weight, -1, 1)
    np.testing.assert_array_equal(layer(rows()).detach(), values_with(layer.weight))


def test_a_tensor_without_data_is_refused_in_words(layer):
    with pytest.raises(BackendError, match=r"must hold data. Got one on the device 'meta'.*to_empty"):
        layer.to("meta")(rows())


def test_a_moving_average_is_open_follows_and_is_copied(layer):
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.BatchNorm1d(3), nn.Linear(3, 1))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    before = layer.weight.detach().clone()
    average.update_parameters(model)
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.update_parameters(model)
    np.testing.assert_allclose(average.module[1].weight.detach(), before + 0.5, atol=1e-6)
    layer.open("aer")
    for each in (average, copy.deepcopy(average)):
        assert each.module[1].neural_network.backend == "statevector"
        each(rows()).sum().backward()
        assert each.module[1].weight.grad.abs().max() > 0


def test_a_scaled_loss_under_autocast_trains(layer):
    model = nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1))
    optimiser, before = torch.optim.SGD(model.parameters(), lr=0.1), layer.weight.detach().clone()
    # At its default a gradient may overflow, and the step be left out, as it should.
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(rows()).float().square().mean()
    scaler.scale(loss).backward()
    scaler.step(optimiser)
    scaler.update()
    assert not torch.equal(layer.weight, before)


# Other processes: a fork goes on with the open layer, whatever threads its parent had; what is sent to a
# spawned one is a pickle, which leaves the backend behind.


class Measured(torch.utils.data.Dataset):
    """Rows as the layer answers them, each worker by itself; opened there where it came without a backend."""

    def __init__(self, layer):
        self.layer = layer

    def __len__(self):
        return 4

    @torch.no_grad()
    def __getitem__(self, at):
        if self.layer.neural_network.backend is None:
            self.layer.open("statevector")
        return self.layer(rows()[at])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", *(["spawn"] if WHOLE else [])])
def test_workers_of_a_loader_ask_the_layer(layer, start):
    layer(rows()).sum().backward()
    loader = torch.utils.data.DataLoader(
        Measured(layer), batch_size=2, num_workers=2, multiprocessing_context=start
    )
    np.testing.assert_allclose(torch.cat(list(loader)), layer(rows())[:4].detach(), atol=1e-6)


def train_a_part(rank, place, answers):
    """Half of a batch in one of two processes, whose gradients gloo averages."""
    store = dist.FileStore(place, 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(QuantumLayer("reference", qubits=3, depth=2))
    model(rows()[2 * rank : 2 * rank + 2]).square().mean().backward()
    answers.put(model.module.weight.grad.numpy().tolist())
    dist.destroy_process_group()


# Its processes are spawned, and import torch: as long as twenty other tests.
@pytest.mark.skipif(not WHOLE, reason="QHQ_FUZZ is not set")
def test_two_processes_that_share_a_batch_have_its_gradient(layer, tmp_path):
    layer(rows()[:4]).square().mean().backward()
    context = torch.multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [
        context.Process(target=train_a_part, args=(rank, str(tmp_path / "store"), answers))
        for rank in range(2)
    ]
    for each in workers:
        each.start()
    for _ in workers:
        np.testing.assert_allclose(answers.get(timeout=120), layer.weight.grad, atol=1e-6)
    for each in workers:
        each.join()


def train_shared(layer, answers):
    torch.optim.SGD(layer.parameters(), lr=0.1).step(lambda: backward_of(layer))
    answers.put(layer.weight.tolist())


def backward_of(layer):
    loss = layer(rows()).square().mean()
    loss.backward()
    return loss


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_weights_in_shared_memory_are_trained_from_another_process(layer):
    layer.share_memory()
    context = torch.multiprocessing.get_context("fork")
    before, answers = layer.weight.detach().clone(), context.Queue()
    worker = context.Process(target=train_shared, args=(layer, answers))
    worker.start()
    np.testing.assert_allclose(answers.get(timeout=120), layer.weight.detach(), atol=1e-7)
    worker.join()
    assert not torch.equal(layer.weight, before)


# Its own imports and trainer warn.
@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_as_a_loop_of_ones_own(layer):
    lightning = pytest.importorskip("lightning", reason="docs/python.md says how to try it")

    class Module(lightning.LightningModule):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.net(batch), batch[:, :1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    module = Module(nn.Sequential(nn.Linear(3, 3), layer, nn.Linear(3, 1)))
    plain = copy.deepcopy(module.net)
    batches = torch.utils.data.DataLoader(rows(), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, batches)
    optimiser = torch.optim.Adam(plain.parameters(), lr=0.01)
    for batch in [*batches, *batches]:
        optimiser.zero_grad()
        nn.functional.mse_loss(plain(batch), batch[:, :1]).backward()
        optimiser.step()
    for one, other in zip(module.net.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


def test_a_quasi_newton_step_goes_downhill(layer):
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=5)

    def closure():
        optimiser.zero_grad()
        loss = layer(rows()).square().sum()
        loss.backward()
        return loss

    first = optimiser.step(closure).item()
    assert closure().item() < first
