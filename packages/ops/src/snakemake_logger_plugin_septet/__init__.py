"""Snakemake's name for the logger of `septet.ops.progress`: `snakemake --logger septet`."""

from septet.ops.progress import LogHandler

__all__ = ["LogHandler"]
