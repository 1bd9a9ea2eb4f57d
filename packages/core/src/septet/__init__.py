"""The frame that every Septet package shares; small enough to hold in one's head.

=============  =====================================================================
`errors`       the one-line input error and the exit codes
`reading`      files and folders from outside: one line when they cannot be read; YAML and JSON
`sealed`       files that carry their checksum
`workflow_config`  the workflow's configuration and table of papers
`config`       typed configuration, its one-line errors and its default YAML
`seeding`      named random streams from one root seed
`scores`       the score table and the timing table
`card`         the run card: what made a score table
`bench`        rows and file of the `bench` verbs
`run`          the one training loop
`state`        the declared state of a job's objects
`history`      what a job has measured, and the rows it makes
`checkpoint`   save and restore a half-done job
`testing`      finds state that is not declared
`files`        whole-or-nothing writes, digests
`lock`         one run at a time in a folder
`finite`       the check that stops training at a value that is not finite
`data`         finding, checking and downloading data sets
`compiled`     functions compiled by numba, and their cache
`arrays`       checked arguments of compiled functions; `specs` holds what they can be
`progress`     progress lines in logs, and what is running now
`cli`          `python -m <package> <verb> --config FILE --out DIR`
=============  =====================================================================
"""
