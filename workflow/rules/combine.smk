# Writes the scores of several scorings of a variant set into one table, one for each entry of `combine`.
rule combine:
    input:
        # In the folder of the variant set, where the command finds them.
        tables=collect(
            "<results>/{file}",
            file=lookup("{variant_set}/{combination}", within=inputs.combined),
        ),
    output:
        table="<results>/{variant_set}/combined/{combination}/combined.parquet",
    log:
        "<logs>/combine/{variant_set}/{combination}.log",
    benchmark:
        "<benchmarks>/combine/{variant_set}/{combination}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{combination}", within=settings.combine),
        folder=subpath(output.table, ancestor=3),
    message:
        "Combining scorings: {wildcards.variant_set}, {wildcards.combination}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks combine --config - --log {log:q}"
        " --combination {wildcards.combination:q} --results {params.folder:q}"
        " --out {output.table:q}"


# Measures how well the scores of a combined table separate the labels.
use rule evaluate as evaluate_combined with:
    input:
        table="<results>/{variant_set}/combined/{combination}/combined.parquet",
    output:
        metrics="<results>/{variant_set}/combined/{combination}/metrics.parquet",
        curves="<results>/{variant_set}/combined/{combination}/curves.parquet",
    log:
        "<logs>/evaluate_combined/{variant_set}/{combination}.log",
    benchmark:
        "<benchmarks>/evaluate_combined/{variant_set}/{combination}.tsv"
    params:
        settings=lookup("{variant_set}", within=settings.evaluate_combined),
    message:
        "Evaluating: {wildcards.variant_set}, {wildcards.combination}"
