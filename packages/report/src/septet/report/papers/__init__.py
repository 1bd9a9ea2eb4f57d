"""The figures of each paper: module `<id>` holds the list `FIGURES` (see `septet.report.draw`)."""
