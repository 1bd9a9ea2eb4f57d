"""From score tables and run cards to statistics, verdicts, figures and one report page."""
