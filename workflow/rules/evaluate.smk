# Measures how well the scores separate the labels, if a variant set has labels.
rule evaluate:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        # Next to the table, where the command finds it.
        calibrated=collect(
            "<results>/{file}",
            file=lookup(
                "{variant_set}/{scoring}", within=inputs.calibrations.calibrated
            ),
        ),
        # In the folder of the probes next to the table, where the command finds them.
        predictions=collect(
            "<results>/{file}",
            file=lookup("{variant_set}/{scoring}", within=inputs.probes.predictions),
        ),
    output:
        metrics="<results>/{variant_set}/{scoring}/metrics.parquet",
        curves="<results>/{variant_set}/{scoring}/curves.parquet",
    log:
        "<logs>/evaluate/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/evaluate/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}", within=settings.evaluate),
    message:
        "Evaluating: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks evaluate --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --table {input.table:q}"
        " --out {output.metrics:q} --curves {output.curves:q}"
