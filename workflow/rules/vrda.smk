# Voted RDA: sparse online classification (packages/vrda).
VRDA_FIGURES = ["table", "nonzeros", "f_against_lambda", "frontier", "learning", "bound", "mistakes", "predictions"]
VRDA_LISTS = "results/{scale}/vrda/lists/{task}/lists.safetensors"


rule vrda_prepare:
    output:
        lists=VRDA_LISTS,
        digest="results/{scale}/vrda/lists/{task}/lists.sha256",
    log:
        "logs/{scale}/vrda/prepare_{task}.log",
    benchmark:
        "benchmarks/{scale}/vrda/prepare_{task}.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(60),
    params:
        sources=digest_of("core", "vrda"),
        job=preparation("vrda", "data_dir", "data_source", "root_seed"),
        out=subpath(output.lists, parent=True),
    shell:
        "printf %s {params.job:q} | python -m vrda prepare --config - --out {params.out:q} > {log:q} 2>&1"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule vrda_train:
    input:
        data=VRDA_LISTS,
    output:
        scores="results/{scale}/vrda/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/vrda/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/vrda/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/vrda/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/vrda/{method}/{task}.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        sources=digest_of("core", "vrda"),
        job=training("vrda", VRDA_LISTS),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m vrda train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule vrda_figures:
    input:
        tables=collected("vrda"),
    output:
        figure_files("vrda", VRDA_FIGURES),
    log:
        "logs/{scale}/vrda/figures.log",
    benchmark:
        "benchmarks/{scale}/vrda/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("vrda"),
        out="results/{scale}/figures/vrda",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
