"""Voted regularised dual averaging (vRDA): sparse online classification, updates on mistakes only.

=============  ==========================================================================
`vrda`         the method as pure functions that read like the paper, and its bounds
`kernels`      the same over sparse rows, each example at the cost of its non-zeros
`estimator`    `VRDAClassifier`, a scikit-learn estimator
`stopping`     early stopping
`model`        what it has learned, and rows as the kernels need them
`needs`        what the arrays of the kernels have to be
`baselines`    perceptron, RDA on every example, truncated gradient, FOBOS, batch l1
`treebank`     Penn trees in and out, brackets, the CRAFT corpus
`parser`       an unlexicalised PCFG, exact CKY and lazy k-best: where n-best lists come from
`features`     lexicalised features of candidate parses
`lists`        n-best lists as arrays; the file that `prepare` writes and `train` reads
`prepare`      from trees to lists: `python -m septet.vrda prepare`
`generated`    stand-in lists for a machine without data
`rerank`       learners on n-best lists, F, mistakes, votes
`predictors`   what a job trained, as files
`votes`        the exact vote of every predictor
`slots`        columns of a huge space, numbered by first touch
`prefetch`     rows asked for before they are read
`train`        one method on one task, over seeds: `python -m septet.vrda train`
`summaries`    the score table of a job: over steps, epochs and lambdas
`differences`  how much each reading of a mistake matters: `python -m septet.vrda.differences`
`bench`        this package beside its peers: `python -m septet.vrda bench`
=============  ==========================================================================
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from septet.vrda.estimator import VRDAClassifier

__version__ = "0.1.0"
__all__ = ["VRDAClassifier"]


def __getattr__(name: str) -> Any:
    """Import `VRDAClassifier` when it is asked for: reading the configuration needs no compiled code."""
    if name == "VRDAClassifier":
        from septet.vrda.estimator import VRDAClassifier

        return VRDAClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
