# Thompson sampling in dynamic systems (packages/dynts).
DYNTS_FIGURES = [
    "regret_curves",
    "regret_against_decay",
    "policies",
    "tracking",
    "memory",
    "headline_tracking",
    "headline_bandit",
]


rule dynts_prepare:
    output:
        table="results/{scale}/dynts/data/upworthy.parquet",
    log:
        "logs/{scale}/dynts/prepare.log",
    benchmark:
        "benchmarks/{scale}/dynts/prepare.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "dynts"),
        job=preparation("dynts", "data_dir", "data_source", "root_seed"),
        out=subpath(output.table, parent=True),
    shell:
        "printf %s {params.job:q} | python -m dynts prepare --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule dynts_train:
    input:
        data=prepared("dynts"),
    output:
        scores="results/{scale}/dynts/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/dynts/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/dynts/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/dynts/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/dynts/{method}/{task}.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        sources=digest_of("core", "dynts"),
        job=training("dynts", prepared("dynts")),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m dynts train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule dynts_figures:
    input:
        tables=collected("dynts"),
    output:
        figure_files("dynts", DYNTS_FIGURES),
    log:
        "logs/{scale}/dynts/figures.log",
    benchmark:
        "benchmarks/{scale}/dynts/figures.jsonl"
    priority: 1  # long ones first
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("dynts"),
        out="results/{scale}/figures/dynts",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
