"""From score tables and run cards to statistics, verdicts, figures and one report page."""

__version__ = "0.1.0"
