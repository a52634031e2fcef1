import gzip

import numpy as np
import pytest

from qhq.backends.devices.fakes import load_fake
from qhq.backends.devices.snapshot import load_snapshot, save_snapshot
from qhq.backends.registry import open_backend
from qhq.backends.spec import AerSpec, FakeSpec
from qhq.errors import BackendError, ConfigError
from tests.ansatz.circuits import built, random_values


@pytest.fixture
def snapshot(tmp_path):
    path = tmp_path / "nairobi.json.gz"
    save_snapshot(load_fake("fake_nairobi"), path)
    return path


def test_a_snapshot_reads_back_whole(snapshot):
    assert load_snapshot(snapshot) == load_fake("fake_nairobi")


def test_a_device_of_156_qubits_is_a_small_file(tmp_path):
    save_snapshot(load_fake("fake_fez"), tmp_path / "fez.json.gz")
    assert (tmp_path / "fez.json.gz").stat().st_size < 100_000


def test_the_same_calibration_gives_the_same_bytes(snapshot, tmp_path):
    save_snapshot(load_snapshot(snapshot), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == snapshot.read_bytes()


def test_the_json_inside_is_read_too(snapshot, tmp_path):
    plain = tmp_path / "plain.json"
    plain.write_bytes(gzip.decompress(snapshot.read_bytes()))
    assert load_snapshot(plain) == load_snapshot(snapshot)


@pytest.mark.parametrize("shots", [None, 500])
def test_a_replay_gives_the_values_of_the_device(snapshot, shots):
    ansatz = built("rot")
    values = random_values(ansatz, 3)
    device = FakeSpec(kind="fake", device="fake_nairobi", shots=shots, threads=1)
    replay = AerSpec(
        kind="aer", method="density_matrix", noise={"snapshot": str(snapshot)}, shots=shots, threads=1
    )
    opened = [open_backend(spec, ansatz, seed=3) for spec in (device, replay)]
    one, other = (executor.expectations(*values) for executor in opened)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert opened[0].report().layout == opened[1].report().layout
    assert opened[0].report().calibration == opened[1].report().calibration


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\x1f\x8bno", b'{"qhq_snapshot": 9}', b"prose"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigError, match="must be a file that 'qhq backends snapshot' wrote"):
        load_snapshot(tmp_path / "file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="none.json.gz"):
        load_snapshot(tmp_path / "none.json.gz")


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(BackendError, match="snapshot must be writable"):
        save_snapshot(load_fake("fake_manila"), tmp_path)
