# WALL-E: experience collection (packages/walle) and policy learning (packages/learner).
WALLE_FIGURES = [
    "return_against_time",
    "return_against_samples",
    "collection_time",
    "speedup",
    "shares",
    "learning_time",
]


# These jobs are timed, so each has a core for every sampler and one for the learner, or the whole machine.
rule walle_train:
    output:
        scores="results/{scale}/walle/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/walle/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/walle/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/walle/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/walle/{method}/{task}.jsonl"
    container:
        image("rl")
    threads: samplers_and_learner("walle")
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        sources=digest_of("core", "walle", "learner"),
        job=training("walle"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m learner train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule walle_figures:
    input:
        tables=collected("walle"),
    output:
        figure_files("walle", WALLE_FIGURES),
    log:
        "logs/{scale}/walle/figures.log",
    benchmark:
        "benchmarks/{scale}/walle/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("walle"),
        out="results/{scale}/figures/walle",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
