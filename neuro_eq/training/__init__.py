"""Training: the loop, what it reports, how it survives, and the evaluation of a network."""

from neuro_eq.training.evaluation import EVALUATION, EVALUATION_BATCH, as_trained, check_fit, evaluate
from neuro_eq.training.loop import Budget, penalised, train
from neuro_eq.training.recording import PROBES
from neuro_eq.training.results import Epoch, History, Reporter, Score, Tally

__all__ = [
    "EVALUATION",
    "EVALUATION_BATCH",
    "PROBES",
    "Budget",
    "Epoch",
    "History",
    "Reporter",
    "Score",
    "Tally",
    "as_trained",
    "check_fit",
    "evaluate",
    "penalised",
    "train",
]
