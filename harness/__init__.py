"""A benchmarking harness for multi-label chest X-ray classification: the names that plugin authors need."""

from harness.components import (
    Augment,
    Choice,
    Data,
    Dataset,
    Float,
    Inputs,
    Int,
    Loss,
    Metric,
    Model,
    Observer,
    Recipe,
    Schedule,
    Task,
)
from harness.errors import DataError, HarnessError, UsageError, WeightsError
from harness.hookspecs import hookimpl

__all__ = [
    "Augment",
    "Choice",
    "Data",
    "DataError",
    "Dataset",
    "Float",
    "HarnessError",
    "Inputs",
    "Int",
    "Loss",
    "Metric",
    "Model",
    "Observer",
    "Recipe",
    "Schedule",
    "Task",
    "UsageError",
    "WeightsError",
    "hookimpl",
]
