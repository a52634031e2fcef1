"""Start-up: the command line is light until a command runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "torch", "qiskit", "qiskit_aer", "pandas", "numpy", "numba", "matplotlib", "sympy", "scipy", "mlflow",
    "sqlalchemy", "openpyxl",
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["eval", "--help"], ["data", "record", "--help"], ["--version"]],
)
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys; from qhq.cli.app import main\n"
        f"sys.argv = ['qhq', *{arguments}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "LOADED []"


def test_module_is_the_program():
    answer = subprocess.run(
        [sys.executable, "-m", "qhq", "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith("qhq ")


def test_what_few_commands_need_is_not_waited_for():
    program = (
        "import sys, qhq.experiment.other_data, qhq.studies.portability\n"
        "late = ('scipy.signal', 'scipy.stats', 'scipy.optimize', 'matplotlib', 'statsmodels', 'mlflow',"
        " 'torch._dynamo')\n"
        "print([name for name in late if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"
