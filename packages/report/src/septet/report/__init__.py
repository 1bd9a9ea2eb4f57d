"""From score tables and run cards to statistics, verdicts, figures and one report page.

=============  =====================================================================
`statistics`   aggregates over tasks and seeds, and the bands around curves
`inference`    tests of a mean that hold their rate; `methods` which one judges what; `coverage` the study behind them
`tables`       one paper's scores and run cards, and what is summarised from them
`claims`       the claims of a paper as data
`estimands`    what a claim compares: pure functions of a (method, task, seed) array
`verdicts`     each claim's estimate, interval and verdict
`collect`      merging runs, publishing and adopting results
`theme`        colours, fonts and lines of every figure
`charts`       the building blocks of the figures
`thinning`     fewer points on a line that looks the same
`svg`          Vega's SVG made small
`apart`        a chart taken apart into panels
`panels`       a figure that was drawn: pictures of its panels and what lies behind their points
`layout`       panels as one picture of a width that journals print
`tabulate`     tables as CSV, LaTeX and Markdown
`draw`         figures to files
`bench`        figures of a bench file
`papers`       one module per paper: its figures; `<paper>_bench`: those of its bench
`page`         the report page
`pagedata`     what the page's script knows of points and run cards
`regrow`       the command that regrows a run
`text`         numbers and symbols as text
`show`         the verdicts in a terminal
`plan`         what a run will cost; `benchmarks`, `work`, `predict`, `schedule`, `plan_text` are its parts,
               `language_models` its bounds for want of a benchmark, `plan_fact` the plan beside what came
`trace`        the lineage of a figure's point
`crate`        the run as an RO-Crate
`track`        scores and run cards for W&B and TensorBoard; `live` follows a run that is under way
`compare`      which verdicts and numbers moved between two runs
=============  =====================================================================
"""
