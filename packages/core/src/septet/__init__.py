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
`checkpoint`   save and restore a half-done job
`files`        whole-or-nothing writes, digests
`folder_lock`  one run at a time in a folder
`finite`       the check that stops training at a value that is not finite
`data`         finding, checking and downloading data sets
`compiled`     functions compiled by numba, and their cache
`arrays`       checked arguments of compiled functions; `specs` holds what they can be
`progress`     progress lines in logs, and what is running now
`imports`      which source files a module runs
`cli`          `python -m <package> <verb> --config FILE --out DIR`
=============  =====================================================================
"""
