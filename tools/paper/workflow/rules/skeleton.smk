# TODO: the paper in a few words.
SKELETON_FIGURES = [
    "error",
]


rule skeleton_train:
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
        sources=digest_of("core", "skeleton"),
        job=training("skeleton"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m skeleton train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule skeleton_figures:
    input:
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
        sources=digest_of("core", "report"),
        job=drawing("skeleton"),
        out="results/{scale}/figures/skeleton",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
