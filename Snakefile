# The workflow is workflow/Snakefile; this file lets a plain `snakemake` find it at the top.
include: "workflow/Snakefile"


workflow.default_target = "all"  # an include does not hand its default target on
