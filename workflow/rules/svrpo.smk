# SVRPO: variance-reduced gradients in a trust region (packages/svrpo).
SVRPO_FIGURES = [
    "returns",
    "other_methods",
    "diagnostics",
    "acceptance",
    "variance_ratio",
    "budget",
    "cost",
]
# At scale paper, with ten seeds on ten cores: see "Scale paper" in packages/svrpo/README.md.
SVRPO_MINUTES = {"swimmer": 150, "half_cheetah": 360, "hopper": 600, "walker": 1200, "ant": 540}
SVRPO_MEMORY_MB = {"swimmer": 2500, "half_cheetah": 2500, "hopper": 2500, "walker": 2500, "ant": 7000}


rule svrpo_train:
    output:
        scores="results/{scale}/svrpo/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/svrpo/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/svrpo/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/svrpo/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/svrpo/{method}/{task}.jsonl"
    container:
        image("rl")
    threads: threads_of("svrpo")
    resources:
        mem_mb=by_task(SVRPO_MEMORY_MB, 1500),
        runtime=by_task(SVRPO_MINUTES, 30),
    params:
        sources=digest_of("core", "walle", "learner", "svrpo"),
        job=training("svrpo"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m svrpo train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule svrpo_figures:
    input:
        tables=collected("svrpo"),
    output:
        figure_files("svrpo", SVRPO_FIGURES),
    log:
        "logs/{scale}/svrpo/figures.log",
    benchmark:
        "benchmarks/{scale}/svrpo/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("svrpo"),
        out="results/{scale}/figures/svrpo",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
