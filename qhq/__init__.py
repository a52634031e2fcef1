"""qhq: take a hybrid quantum-classical forecasting model from the notebook to quantum hardware."""

__version__ = "0.1.0"
