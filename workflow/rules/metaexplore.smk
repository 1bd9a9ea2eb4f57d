# Learning to explore with a meta-policy gradient (packages/metaexplore).
METAEXPLORE_FIGURES = [
    "contrasts",
    "learning_curves",
    "teacher_families",
    "visitation",
    "overlap",
    "diagnostics",
    "signal",
    "gradient",
    "sensitivity",
]


rule metaexplore_train:
    output:
        scores="results/{scale}/metaexplore/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/metaexplore/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/metaexplore/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/metaexplore/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/metaexplore/{method}/{task}.jsonl"
    container:
        image("rl")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        sources=digest_of("core", "walle", "learner", "metaexplore"),
        job=training("metaexplore"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m metaexplore train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule metaexplore_figures:
    input:
        tables=collected("metaexplore"),
    output:
        figure_files("metaexplore", METAEXPLORE_FIGURES),
    log:
        "logs/{scale}/metaexplore/figures.log",
    benchmark:
        "benchmarks/{scale}/metaexplore/figures.jsonl"
    priority: 1  # long ones first
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("metaexplore"),
        out="results/{scale}/figures/metaexplore",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
