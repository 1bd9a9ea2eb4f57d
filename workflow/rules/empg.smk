# EM policy gradient for reasoning models (packages/empg).
EMPG_FIGURES = [
    "test_score",
    "reward",
    "length",
    "kl_in_reward",
    "inner_steps",
    "final",
    "cost",
    "memory",
]
# Of language models, on GPUs: MB of the host, where every process reads the whole model once, and minutes, after which a
# job goes on from its checkpoint. Neither was measured.
EMPG_MEMORY = {
    "gsm8k_qwen15": 32000,
    "math_qwen15": 32000,
    "gsm8k_qwen7": 160000,
    "math_qwen7": 160000,
    "gsm8k_qwenmath7": 160000,
    "math_qwenmath7": 160000,
    "gsm8k_qwen14": 480000,
    "math_qwen14": 480000,
}
EMPG_MINUTES = {task: 1440 for task in EMPG_MEMORY}


rule empg_prepare:
    output:
        made="results/{scale}/empg/data/{data}",
    log:
        "logs/{scale}/empg/prepare/{data}.log",
    benchmark:
        "benchmarks/{scale}/empg/prepare/{data}.jsonl"
    wildcard_constraints:
        data=r"[a-z0-9]+\.(parquet|safetensors)",
    container:
        image("llm")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(20),
    params:
        sources=digest_of("core", "empg"),
        job=empg_preparation("empg"),
        out=subpath(output.made, parent=True),
    shell:
        "printf %s {params.job:q} | python -m empg prepare --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule empg_train:
    input:
        data=empg_data("empg"),
    output:
        scores="results/{scale}/empg/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/empg/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/empg/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/empg/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/empg/{method}/{task}.jsonl"
    container:
        image("llm")
    threads: threads_of_task("empg")
    resources:
        mem_mb=by_task(EMPG_MEMORY, 3000),
        runtime=by_task(EMPG_MINUTES, 60),
        gpu=gpus_of_task("empg"),
    params:
        sources=digest_of("core", "empg"),
        job=training("empg", empg_data("empg")),
        launch=launcher("empg"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | {params.launch} train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule empg_figures:
    input:
        tables=collected("empg"),
    output:
        figure_files("empg", EMPG_FIGURES),
    log:
        "logs/{scale}/empg/figures.log",
    benchmark:
        "benchmarks/{scale}/empg/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("empg"),
        out="results/{scale}/figures/empg",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
