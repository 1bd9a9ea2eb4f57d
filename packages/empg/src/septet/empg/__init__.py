"""EM policy gradient for reasoning models (Xu, arXiv 2504.18587) and its baselines.

`advantages` and `losses` are the methods and read like the papers, `sample` draws completions, `forward`
computes their log-probabilities, `update` is the M-step, `train` the loop; `problems` and `datasets` are the
tasks, `grading` the graders, `families` says which models are computed how. The same code
runs the tiny model of a laptop and a model on GPUs.
"""

__version__ = "0.1.0"
