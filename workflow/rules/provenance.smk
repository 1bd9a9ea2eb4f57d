# What a run leaves for others: its description as an RO-Crate, and its scores for experiment trackers.


rule crate:
    input:
        tables=collected(*PAPERS),
        verdicts=[f"results/{{scale}}/{paper}/verdicts.json" for paper in PAPERS],
        page="results/{scale}/report/index.html",
    output:
        crate="results/{scale}/ro-crate-metadata.json",
    log:
        "logs/{scale}/crate.log",
    benchmark:
        "benchmarks/{scale}/crate.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=description,
        out=subpath(output.crate, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet_report crate --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


# Runs when it is asked for (make track); the files that it adds to stay when it runs again.
rule track:
    input:
        tables=collected(*PAPERS),
    output:
        summary="results/{scale}/tracking/summary.json",
    log:
        "logs/{scale}/track.log",
    benchmark:
        "benchmarks/{scale}/track.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        sources=digest_of("core", "report"),
        job=tracking,
        out=subpath(output.summary, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet_report track --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
