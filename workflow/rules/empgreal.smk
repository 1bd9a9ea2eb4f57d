# empg on a real language model, SmolLM2-135M-Instruct: `snakemake empg_real`. It runs when it is named; the weights
# come with `make models`, and are in the image `llm`.
EMPGREAL_FIGURES = [
    "real_curves",
    "real_behaviours",
    "real_completions",
]


rule empgreal_prepare:
    output:
        made="results/{scale}/empgreal/data/{data}",
    log:
        "logs/{scale}/empgreal/prepare/{data}.log",
    benchmark:
        "benchmarks/{scale}/empgreal/prepare/{data}.jsonl"
    wildcard_constraints:
        data=r"[a-z0-9]+\.safetensors",
    container:
        image("llm")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        sources=digest_of("core", "empg"),
        job=empg_preparation("empgreal"),
        out=subpath(output.made, parent=True),
    shell:
        "printf %s {params.job:q} | python -m empg prepare --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule empgreal_train:
    input:
        data=empg_data("empgreal"),
    output:
        scores="results/{scale}/empgreal/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/empgreal/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/empgreal/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/empgreal/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/empgreal/{method}/{task}.jsonl"
    priority: as_listed("empgreal")
    container:
        image("llm")
    threads: threads_of_task("empgreal")
    resources:
        mem_mb=growing(7000),
        runtime=growing(60),
        gpu=gpus_of_task("empgreal"),
    params:
        sources=digest_of("core", "empg"),
        job=training("empgreal", empg_data("empgreal")),
        launch=launcher("empgreal"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | {params.launch} train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule empgreal_figures:
    input:
        tables=collected("empgreal"),
    output:
        figure_files("empgreal", EMPGREAL_FIGURES),
    log:
        "logs/{scale}/empgreal/figures.log",
    benchmark:
        "benchmarks/{scale}/empgreal/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("empgreal"),
        out="results/{scale}/figures/empgreal",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
