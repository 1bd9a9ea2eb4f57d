# TODO: the paper in a few words.
SKELETON_FIGURES = [
    "error",
]


rule skeleton_train:
    input:
        sources=sources("core", "skeleton"),
    output:
        scores="results/{scale}/skeleton/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/skeleton/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/skeleton/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/skeleton/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/skeleton/{method}/{task}.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        job=training("skeleton"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m skeleton train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule skeleton_figures:
    input:
        sources=sources("core", "report"),
        tables=collected("skeleton"),
    output:
        figure_files("skeleton", SKELETON_FIGURES),
    log:
        "logs/{scale}/skeleton/figures.log",
    benchmark:
        "benchmarks/{scale}/skeleton/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        job=drawing("skeleton"),
        out="results/{scale}/figures/skeleton",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
